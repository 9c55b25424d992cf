#include <sentencepiece_processor.h>

#include <memory>

#include "engine/models/text/sentencepiece_interface.h"

namespace longtake {
namespace {

class Model : public SentencePieceModel {
 public:
  bool Load(std::string_view bytes) {
    return processor_.LoadFromSerializedProto(bytes).ok() && processor_.GetPieceSize() > 0;
  }
  bool Encode(std::string_view text, std::vector<int32_t>* ids) const override {
    std::vector<int> pieces;
    if (!processor_.Encode(text, &pieces).ok()) return false;
    ids->insert(ids->end(), pieces.begin(), pieces.end());
    return true;
  }
  int64_t pieces() const override { return processor_.GetPieceSize(); }
  int32_t bos_id() const override { return processor_.bos_id(); }
  int32_t pad_id() const override { return processor_.pad_id(); }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

}  // namespace longtake

extern "C" longtake::SentencePieceModel* longtake_parse_sentencepiece(std::string_view bytes) {
  auto model = std::make_unique<longtake::Model>();
  return model->Load(bytes) ? model.release() : nullptr;
}
