// The adapters of a VideoModel.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/models/lora/load.h"
#include "engine/runtime/video_model.h"

namespace longtake {

absl::Status VideoModel::LoadAdapters(const PartOps& parts, const std::string& folder, const Progress& progress) {
  Ops& ops = parts.transformer();
  if (!ops.dense().adds_low_rank()) {
    return absl::InvalidArgumentError(
        absl::StrCat("adapters_dir: ", ops.device().name(), " computes without adapters"));
  }
  ASSIGN_OR_RETURN(const std::vector<AdapterFiles> files, ListAdapters(folder));
  const auto bytes_of = [](const AdapterFiles& file) -> uint64_t {
    std::error_code error;
    const uintmax_t bytes = std::filesystem::file_size(file.weights, error);
    return error ? 0 : bytes;  // a file that is gone is named when it is opened
  };
  uint64_t done = 0, total = 0;
  for (const AdapterFiles& file : files) total += bytes_of(file);
  for (const AdapterFiles& file : files) {
    ASSIGN_OR_RETURN(adapters_.emplace_back(), LoadAdapter(ops, file, transformer_->layers()));
    info_.adapters.push_back({.name = file.name, .digest = adapters_.back()->digest});
    done += bytes_of(file);
    if (progress) progress("adapters", done, total);
  }
  largest_adapters_ = LargestAdapters(adapters_, kMaxSessionAdapters);
  for (const Adapter& adapter : largest_adapters_) largest_applied_.push_back({.adapter = &adapter});
  info_.max_checkpoint_bytes = MaxCheckpointBytes();
  return absl::OkStatus();
}

size_t VideoModel::adapter_bytes() const {
  size_t bytes = 0;
  for (const std::shared_ptr<const Adapter>& adapter : adapters_) bytes += adapter->bytes;
  return bytes;
}

const Adapter* VideoModel::FindAdapter(const std::string& name) const {
  const auto at = std::find_if(adapters_.begin(), adapters_.end(), [&](const auto& a) { return a->name == name; });
  return at == adapters_.end() ? nullptr : at->get();
}

absl::Status VideoModel::CheckAdapters(const SessionSpec& spec) const {
  if (spec.adapters.size() > kMaxSessionAdapters) {
    return absl::InvalidArgumentError(absl::StrCat("adapters: are more than ", kMaxSessionAdapters));
  }
  for (auto use = spec.adapters.begin(); use != spec.adapters.end(); ++use) {
    const std::string name = use->name.substr(0, 64);
    const Adapter* adapter = FindAdapter(use->name);
    if (adapter == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("adapters: the model has none of the name \"", name, "\""));
    }
    if (std::any_of(spec.adapters.begin(), use, [&](const AdapterUse& other) { return other.name == use->name; })) {
      return absl::InvalidArgumentError(absl::StrCat("adapters: \"", name, "\" is given twice"));
    }
    if (!(std::abs(use->strength) <= kMaxAdapterStrength)) {
      return absl::InvalidArgumentError(
          absl::StrCat("adapters: the strength of \"", name, "\" is not within +-", kMaxAdapterStrength));
    }
    if (!use->digest.empty() && use->digest != adapter->digest) {
      return absl::FailedPreconditionError(absl::StrCat("adapters: \"", name, "\" has the digest ",
                                                        use->digest.substr(0, 16), ", that here ", adapter->digest));
    }
  }
  return absl::OkStatus();
}

std::vector<AppliedAdapter> VideoModel::Apply(SessionSpec* spec) const {
  std::vector<AppliedAdapter> applied;
  for (AdapterUse& use : spec->adapters) {
    const Adapter* adapter = FindAdapter(use.name);
    use.digest = adapter->digest;
    applied.push_back({.adapter = adapter, .strength = static_cast<float>(use.strength)});
  }
  return applied;
}

}  // namespace longtake
