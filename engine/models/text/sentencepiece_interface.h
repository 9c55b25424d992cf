// What the loaded library implements; standard types only.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_INTERFACE_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_INTERFACE_H_

#include <cstdint>
#include <string_view>
#include <vector>

namespace longtake {

class SentencePieceModel {
 public:
  virtual ~SentencePieceModel() = default;

  // Appends the text's pieces to `ids`; false where that fails.
  virtual bool Encode(std::string_view text, std::vector<int32_t>* ids) const = 0;
  virtual int64_t pieces() const = 0;
  virtual int32_t bos_id() const = 0;  // -1: none; likewise pad
  virtual int32_t pad_id() const = 0;
};

// The library's one entry, of this name: null where the bytes are no model. The caller deletes the result.
inline constexpr char kParseSentencePiece[] = "longtake_parse_sentencepiece";
using ParseSentencePieceFunction = SentencePieceModel* (*)(std::string_view bytes);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_INTERFACE_H_
