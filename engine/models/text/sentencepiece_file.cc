#include "engine/models/text/sentencepiece_file.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "common/utf8.h"
#include "engine/models/text/wire.h"

namespace longtake {
namespace {

constexpr uint64_t kBpe = 2;  // value of TrainerSpec.model_type

absl::Status Malformed(std::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("is not a SentencePiece model: ", std::string(why)));
}
absl::Status Unsupported(const std::string& field, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("field '", field, "' ", why));
}

absl::Status ReadPiece(std::string_view message, SentencePieceFile* file) {
  SentencePieceFile::Piece piece;
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == 1) piece.text = reader.bytes();
    if (reader.field() == 2) piece.score = reader.fixed_float();
    if (reader.field() == 3) {
      if (reader.number() < 1 || reader.number() > 6) return Malformed("a piece has an unknown type");
      piece.type = static_cast<SentencePieceFile::Type>(reader.number());
    }
  }
  if (!reader.ok()) return Malformed("a piece is cut off");
  if (piece.text.empty() || !IsUtf8(piece.text)) return Malformed("a piece is no text");
  if (!std::isfinite(piece.score)) return Malformed("a piece has a score that is no number");
  file->pieces.push_back(std::move(piece));
  return absl::OkStatus();
}

absl::Status ReadTrainerSpec(std::string_view message, SentencePieceFile* file, uint64_t* model_type) {
  WireReader reader(message);
  while (reader.Next()) {
    switch (reader.field()) {
      case 3:
        *model_type = reader.number();
        break;
      case 24:
        if (reader.number() != 0) return Unsupported("treat_whitespace_as_suffix", "must be false");
        break;
      case 35:
        file->byte_fallback = reader.number() != 0;
        break;
      case 46:
        file->bos_piece = reader.bytes();
        break;
      case 48:
        file->pad_piece = reader.bytes();
        break;
      default:  // parameters of the training
        break;
    }
  }
  return reader.ok() ? absl::OkStatus() : Malformed("trainer_spec is cut off");
}

absl::Status ReadNormalizerSpec(std::string_view message, SentencePieceFile* file) {
  WireReader reader(message);
  while (reader.Next()) {
    if (reader.field() == 2 && !reader.bytes().empty()) {
      return Unsupported("normalizer_spec", "normalizes text, but only the rule 'identity' is supported");
    }
    if (reader.field() == 3) file->add_dummy_prefix = reader.number() != 0;
    if (reader.field() == 4) file->remove_extra_whitespaces = reader.number() != 0;
    if (reader.field() == 5 && reader.number() == 0) return Unsupported("escape_whitespaces", "must be true");
  }
  return reader.ok() ? absl::OkStatus() : Malformed("normalizer_spec is cut off");
}

}  // namespace

absl::StatusOr<SentencePieceFile> ParseSentencePieceFile(std::string_view bytes) {
  SentencePieceFile file;
  uint64_t model_type = 1;  // the format's default, a different algorithm
  WireReader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) RETURN_IF_ERROR(ReadPiece(reader.bytes(), &file));
    if (reader.field() == 2) RETURN_IF_ERROR(ReadTrainerSpec(reader.bytes(), &file, &model_type));
    if (reader.field() == 3) RETURN_IF_ERROR(ReadNormalizerSpec(reader.bytes(), &file));
  }
  if (!reader.ok()) return Malformed("it is cut off or of another format");
  if (file.pieces.empty()) return Malformed("it has no pieces");
  if (model_type != kBpe) return Unsupported("model_type", "must be BPE");
  return file;
}

}  // namespace longtake
