#include "engine/models/folder/model_digest.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <span>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/input_file.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;

constexpr const char* kParts[] = {"longtake.json", "model_index.json", "scheduler", "text_encoder",
                                  "tokenizer",     "transformer",      "vae"};
constexpr const char* kExtensions[] = {".json", ".model", ".safetensors"};
constexpr uint64_t kWhole = 32 << 20;  // larger files are sampled
constexpr uint64_t kPage = 4096, kPages = 256;

class Fnv1a {
 public:
  void Add(std::span<const char> bytes) {
    for (const char c : bytes) hash_ = (hash_ ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  }
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = 0xcbf29ce484222325u;
};

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

absl::Status AddFile(const std::string& path, Fnv1a* hash) {
  ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  const uint64_t size = file.size();
  hash->Add(absl::StrCat(size, "\n"));
  const bool whole = size <= kWhole;
  const uint64_t piece = whole ? size : kPage;
  std::vector<char> bytes(piece);
  for (uint64_t i = 0; i < (whole ? 1 : kPages); ++i) {
    const uint64_t begin = whole ? 0 : (size - kPage) / (kPages - 1) * i;
    RETURN_IF_ERROR(file.Read(begin, piece, reinterpret_cast<std::byte*>(bytes.data())));
    hash->Add(bytes);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ModelDigest(const std::string& folder) {
  Fnv1a hash;
  for (const std::string& name : ModelFiles(folder)) {
    hash.Add(absl::StrCat(name, "\n"));
    RETURN_IF_ERROR(AddFile(absl::StrCat(folder, "/", name), &hash));
  }
  return absl::StrCat(absl::Hex(hash.hash(), absl::kZeroPad16));
}

}  // namespace longtake
