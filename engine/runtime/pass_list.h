// The transformer passes of one batch. Clear keeps the passes' vectors, so that the next batch reuses their memory.
#ifndef LONGTAKE_ENGINE_RUNTIME_PASS_LIST_H_
#define LONGTAKE_ENGINE_RUNTIME_PASS_LIST_H_

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "engine/models/sana/transformer.h"

namespace longtake {

class PassList {
 public:
  void Clear() { used_ = 0; }
  bool empty() const { return used_ == 0; }
  std::span<const TransformerPass> passes() const { return {passes_.data(), used_}; }

  // Appends a pass with default fields. The reference is valid until the next Add.
  TransformerPass& Add() {
    if (used_ == passes_.size()) passes_.emplace_back();
    TransformerPass& pass = passes_[used_++];
    TransformerPass fresh;
    fresh.timesteps.swap(pass.timesteps);
    fresh.history.swap(pass.history);
    fresh.timesteps.clear();
    fresh.history.clear();
    pass = std::move(fresh);
    return pass;
  }

 private:
  std::vector<TransformerPass> passes_;
  size_t used_ = 0;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNTIME_PASS_LIST_H_
