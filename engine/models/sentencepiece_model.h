// A SentencePiece model behind standard types only: Debian's header declares an absl::string_view of its own, so that no
// file can include both it and Abseil.
#ifndef LONGTAKE_ENGINE_MODELS_SENTENCEPIECE_MODEL_H_
#define LONGTAKE_ENGINE_MODELS_SENTENCEPIECE_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace longtake {

class SentencePieceModel {
 public:
  // Null where the bytes are no model, and where the library cannot be loaded; `error` says which.
  static std::unique_ptr<SentencePieceModel> Parse(std::string_view bytes, std::string* error);
  virtual ~SentencePieceModel() = default;

  // Appends the text's pieces to `ids`; false where that fails.
  virtual bool Encode(std::string_view text, std::vector<int32_t>* ids) const = 0;
  virtual int64_t pieces() const = 0;
  virtual int32_t bos_id() const = 0;  // -1: none; likewise pad
  virtual int32_t pad_id() const = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_SENTENCEPIECE_MODEL_H_
