#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/models/lora/load.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 64;
constexpr char kPeftWeights[] = "adapter_model.safetensors", kPeftConfig[] = "adapter_config.json",
               kDiffusersWeights[] = "pytorch_lora_weights.safetensors";

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes && absl::ascii_isalnum(static_cast<unsigned char>(name[0])) &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
         });
}

absl::Status Bad(const fs::path& path, const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", why));
}

// The files of one entry of the folder; their existence is checked when they are opened.
absl::StatusOr<AdapterFiles> FilesOf(const fs::path& path) {
  std::error_code error;
  AdapterFiles files{.name = path.filename()};
  if (fs::is_directory(path, error)) {
    const bool peft = fs::exists(path / kPeftWeights, error), diffusers = fs::exists(path / kDiffusersWeights, error);
    if (peft == diffusers) {
      return Bad(path, absl::StrCat("a folder of an adapter has either ", kPeftWeights, " or ", kDiffusersWeights));
    }
    files.weights = path / (peft ? kPeftWeights : kDiffusersWeights);
    if (fs::exists(path / kPeftConfig, error)) files.config = path / kPeftConfig;
  } else if (path.extension() == ".safetensors") {
    files.name = path.stem();
    files.weights = path;
  } else {
    return Bad(path, "is no adapter: neither a safetensors file nor a folder");
  }
  if (!IsName(files.name)) {
    return Bad(path,
               "an adapter's name has 1 to 64 letters, digits, '.', '_' and '-' and begins with a letter or digit");
  }
  return files;
}

}  // namespace

absl::StatusOr<std::vector<AdapterFiles>> ListAdapters(const std::string& folder) {
  std::error_code error;
  std::vector<AdapterFiles> adapters;
  fs::directory_iterator at(folder, error);
  for (const fs::directory_iterator end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    if (name[0] == '.' || name == "lost+found") continue;
    absl::StatusOr<AdapterFiles> files = FilesOf(at->path());
    if (!files.ok()) return files.status();
    adapters.push_back(*std::move(files));
  }
  if (error) return absl::NotFoundError(absl::StrCat(folder, ": the folder of adapters: ", error.message()));
  std::sort(adapters.begin(), adapters.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(adapters.begin(), adapters.end(),
                                        [](const auto& a, const auto& b) { return a.name == b.name; });
  if (twice != adapters.end()) return Bad(fs::path(folder) / twice->name, "is there twice, as a file and as a folder");
  return adapters;
}

}  // namespace longtake
