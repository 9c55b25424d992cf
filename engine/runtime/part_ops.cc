#include "engine/runtime/part_ops.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/backend/backend.h"

namespace longtake {
namespace {

// Returns operations with the type that `option` names, or null if `ops` has that type. `types` are those of the part.
absl::StatusOr<std::unique_ptr<Ops>> OfType(Ops& ops, const char* option, const std::string& dtype,
                                            const std::vector<std::string>& types) {
  if (dtype == "auto") return nullptr;
  if (std::find(types.begin(), types.end(), dtype) == types.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat(option, ": \"", dtype, "\" is none of auto, ", absl::StrJoin(types, ", ")));
  }
  if (dtype == Name(ops.activation_type())) return nullptr;
  absl::StatusOr<std::unique_ptr<Ops>> other = ops.WithDtype(dtype);
  if (other.ok()) return other;
  return absl::Status(other.status().code(), absl::StrCat(option, ": ", other.status().message()));
}

}  // namespace

PartOps::PartOps(std::unique_ptr<Ops> transformer, std::unique_ptr<Ops> decoder)
    : transformer_(std::move(transformer)), decoder_(std::move(decoder)), lanes_overlap_(decoder_ != nullptr) {}

absl::StatusOr<PartOps> PartOps::Make(const EngineOptions& options, int device) {
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> transformer, MakeBackend({.backend = options.backend,
                                                                  .dtype = options.dtype,
                                                                  .isa = options.isa,
                                                                  .threads = options.threads,
                                                                  .device = device,
                                                                  .cuda_graphs = options.cuda_graphs,
                                                                  .log = options.log}));
  std::unique_ptr<Ops> stream;
  if (options.overlap_decoding) {
    ASSIGN_OR_RETURN(stream, transformer->MakeStream());
  }
  PartOps parts(std::move(transformer), std::move(stream));
  ASSIGN_OR_RETURN(parts.text_,
                   OfType(parts.transformer(), "text_dtype", options.text_dtype, {"float32", "bfloat16", "int8"}));
  parts.text_int8_ = options.text_dtype == "int8";
  ASSIGN_OR_RETURN(std::unique_ptr<Ops> decoder,
                   OfType(parts.decoder(), "vae_dtype", options.vae_dtype, {"float32", "bfloat16"}));
  if (decoder != nullptr) parts.decoder_ = std::move(decoder);
  for (Ops* ops : parts.distinct()) {
    ops->weights().set_cache({.folder = options.weight_cache_dir, .log = options.log});
  }
  return parts;
}

std::vector<Ops*> PartOps::distinct() const {
  std::vector<Ops*> all = {transformer_.get()};
  if (text_ != nullptr) all.push_back(text_.get());
  if (decoder_ != nullptr) all.push_back(decoder_.get());
  return all;
}

}  // namespace longtake
