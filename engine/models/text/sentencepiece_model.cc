// Tokenizes as the sentencepiece library does, from the model file alone. The library is not used because it cannot
// treat Gemma's control pieces as text, and because it brings a protobuf that conflicts with gRPC's.
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/text/bpe.h"
#include "engine/models/text/piece_matcher.h"
#include "engine/models/text/sentencepiece_file.h"
#include "engine/models/text/tokenizer_model.h"
#include "engine/models/text/unicode.h"
#include "engine/models/text/vocabulary.h"

namespace longtake {
namespace {

using Type = SentencePieceFile::Type;

constexpr std::string_view kSpace = "\xe2\x96\x81";  // represents a space in pieces

class SentencePieceModel final : public TokenizerModel, private BpeMerges {
 public:
  static absl::StatusOr<std::unique_ptr<TokenizerModel>> Create(SentencePieceFile file) {
    std::unique_ptr<SentencePieceModel> model(new SentencePieceModel);
    model->add_space_ = file.add_dummy_prefix;
    model->trim_ = file.remove_extra_whitespaces;
    RETURN_IF_ERROR(model->AddPieces(file));
    if (file.byte_fallback) {
      model->bytes_ = FindBytePieces(model->all_);
      if (!model->bytes_) return absl::InvalidArgumentError("does not have the 256 pieces of byte_fallback");
    } else if (!model->unknown_) {
      return absl::InvalidArgumentError("has no piece for unknown characters");
    }
    model->bos_ = model->FindControl(file, file.bos_piece);
    model->pad_ = model->FindControl(file, file.pad_piece);
    return model;
  }

  void Encode(std::string_view text, std::vector<int32_t>* ids) const override {
    const std::string normal = Normalize(text);
    bool after_unknown = false;
    symbols_.Split(
        normal,
        [&](int32_t id) {
          ids->push_back(id);
          after_unknown = false;
        },
        [&](std::string_view rest) { EncodePart(rest, &after_unknown, ids); });
  }

  std::optional<int32_t> FindPiece(std::string_view piece) const override { return all_.Find(piece); }
  int64_t vocabulary() const override { return static_cast<int64_t>(ranks_.size()); }
  std::optional<int32_t> bos_id() const override { return bos_; }
  std::optional<int32_t> pad_id() const override { return pad_; }

 private:
  absl::Status AddPieces(const SentencePieceFile& file) {
    std::map<float, int32_t, std::greater<>> rank_of_score;
    for (const auto& piece : file.pieces) rank_of_score[piece.score] = 0;
    int32_t rank = 0;
    for (auto& [score, r] : rank_of_score) r = rank++;
    for (size_t i = 0; i < file.pieces.size(); ++i) {
      const auto& [text, score, type] = file.pieces[i];
      const auto id = static_cast<int32_t>(i);
      ranks_.push_back(rank_of_score[score]);
      if (!all_.Add(text, id)) return absl::InvalidArgumentError(absl::StrCat("has the piece '", text, "' twice"));
      if (type == Type::kUnknown) unknown_ = id;
      if (type == Type::kUnused) {
        return absl::InvalidArgumentError(
            absl::StrCat("piece '", text, "' is of the type UNUSED, which is not supported"));
      }
      if (IsControlPiece(text)) continue;
      if (type == Type::kUserDefined) symbols_.Add(text, id);
      if (type == Type::kUserDefined || type == Type::kNormal) text_.Add(text, id);
    }
    return absl::OkStatus();
  }

  std::optional<int32_t> FindControl(const SentencePieceFile& file, const std::string& piece) const {
    const std::optional<int32_t> id = all_.Find(piece);
    return id && file.pieces[*id].type == Type::kControl ? id : std::nullopt;
  }

  std::optional<BpeMerge> Find(const BpeSymbol&, const BpeSymbol&, std::string_view text) const override {
    const std::optional<int32_t> id = text_.Find(text);
    return id ? std::optional(BpeMerge{ranks_[*id], *id}) : std::nullopt;
  }

  // Replaces spaces by kSpace. If the file requests it, also collapses runs of spaces, removes spaces at both ends, and
  // puts one in front.
  std::string Normalize(std::string_view text) const {
    std::string out;
    while (trim_ && text.starts_with(' ') && symbols_.Match(text).second == 0) text.remove_prefix(1);
    if (text.empty()) return out;
    if (add_space_) out += kSpace;
    bool after_space = trim_;
    while (!text.empty()) {
      // Spaces inside a user-defined piece are kept.
      size_t bytes = symbols_.Match(text).second;
      if (bytes == 0) bytes = NextCharacter(text, 0);
      std::string_view part = text.substr(0, bytes);
      text.remove_prefix(bytes);
      while (after_space && part.starts_with(' ')) part.remove_prefix(1);
      for (const char c : part) {
        if (c == ' ') {
          out += kSpace;
        } else {
          out += c;
        }
      }
      if (trim_ && !part.empty()) after_space = part.ends_with(' ');
    }
    while (trim_ && out.ends_with(kSpace)) out.resize(out.size() - kSpace.size());
    return out;
  }

  void EncodePart(std::string_view text, bool* after_unknown, std::vector<int32_t>* ids) const {
    std::vector<BpeSymbol> symbols = Characters(text, text_);
    MergeSymbols(text, *this, &symbols);
    for (const BpeSymbol& s : symbols) {
      if (s.id >= 0) {
        ids->push_back(s.id);
      } else if (bytes_) {
        for (size_t i = s.begin; i < s.end; ++i) ids->push_back((*bytes_)[static_cast<uint8_t>(text[i])]);
      } else if (!*after_unknown) {
        ids->push_back(*unknown_);  // a run of unknown characters gives one piece
      }
      *after_unknown = s.id < 0;
    }
  }

  PieceIds all_, text_;  // text_: the pieces that text can be encoded to
  PieceMatcher symbols_;
  std::vector<int32_t> ranks_;  // rank of merging, by id
  std::optional<ByteIds> bytes_;
  std::optional<int32_t> unknown_, bos_, pad_;
  bool add_space_ = false, trim_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TokenizerModel>> ParseSentencePiece(std::string_view bytes) {
  ASSIGN_OR_RETURN(SentencePieceFile file, ParseSentencePieceFile(bytes));
  return SentencePieceModel::Create(std::move(file));
}

}  // namespace longtake
