#include "engine/models/folder/model_digest.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/fnv1a.h"
#include "engine/core/input_file.h"
#include "engine/core/json_text.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;

constexpr char kSettings[] = "longtake.json";
constexpr const char* kParts[] = {kSettings,      "model_index.json", "scheduler",   "text_encoder",
                                  "tiny_decoder", "tokenizer",        "transformer", "vae"};
constexpr const char* kExtensions[] = {".json", ".model", ".safetensors"};
constexpr uint64_t kMostSettings = 32 << 20;  // bytes

bool IsModelFile(const fs::path& path) {
  return std::find(std::begin(kExtensions), std::end(kExtensions), path.extension()) != std::end(kExtensions);
}

// Returns the names of the model's files relative to `folder`, sorted.
std::vector<std::string> ModelFiles(const std::string& folder) {
  std::vector<std::string> names;
  for (const char* part : kParts) {
    const fs::path path = fs::path(folder) / part;
    std::error_code error;
    if (fs::is_regular_file(path, error)) names.emplace_back(part);
    if (!fs::is_directory(path, error)) continue;
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      if (std::error_code ignored; at->is_regular_file(ignored) && IsModelFile(at->path())) {
        names.push_back(absl::StrCat(part, "/", at->path().filename().string()));
      }
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What longtake.json only shows to people makes no other model of the folder.
absl::Status AddSettings(const std::string& path, Fnv1a* hash) {
  ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  ASSIGN_OR_RETURN(std::string text, file.ReadAll(kMostSettings));
  absl::StatusOr<nlohmann::json> settings = ParseJson(text);
  if (settings.ok() && settings->is_object()) {
    for (const char* shown : {"about", "examples"}) settings->erase(shown);
    text = settings->dump();
  }
  hash->Add(absl::StrCat(text.size(), "\n"));
  hash->Add(text);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ModelDigest(const std::string& folder) {
  Fnv1a hash;
  for (const std::string& name : ModelFiles(folder)) {
    hash.Add(absl::StrCat(name, "\n"));
    const std::string path = absl::StrCat(folder, "/", name);
    if (name == kSettings) {
      RETURN_IF_ERROR(AddSettings(path, &hash));
      continue;
    }
    ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
    RETURN_IF_ERROR(hash.AddSampledFile(file));
  }
  return hash.hex();
}

}  // namespace longtake
