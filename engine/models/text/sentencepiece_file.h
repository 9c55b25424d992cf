// Parses a tokenizer.model, which is a serialized sentencepiece.ModelProto.
#ifndef LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_FILE_H_
#define LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_FILE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace longtake {

struct SentencePieceFile {
  enum class Type : uint8_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::kNormal;
  };

  std::vector<Piece> pieces;
  bool byte_fallback = false;    // characters without a piece are encoded as their bytes
  bool add_dummy_prefix = true;  // put a space in front of every text
  bool remove_extra_whitespaces = true;
  std::string bos_piece = "<s>", pad_piece = "<pad>";
};

// InvalidArgument if the bytes are not a model, or not byte pair encoding without normalization, the kind that Gemma
// uses. The message is worded to follow the file's name.
absl::StatusOr<SentencePieceFile> ParseSentencePieceFile(std::string_view bytes);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_MODELS_TEXT_SENTENCEPIECE_FILE_H_
