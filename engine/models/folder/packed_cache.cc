#include "engine/models/folder/packed_cache.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/fnv1a.h"
#include "engine/core/input_file.h"
#include "engine/core/safetensors_header.h"

namespace longtake {
namespace {

namespace fs = std::filesystem;

std::string BlockName(const std::string& name, size_t block) { return absl::StrCat(name, "/", block); }

}  // namespace

PackedCache::PackedCache(const PackedCacheOptions& options, std::string path, std::string identity)
    : options_(options), path_(std::move(path)), identity_(std::move(identity)) {}

void PackedCache::Log(const std::string& line) const {
  if (options_.log) options_.log(absl::StrCat("weight cache: ", line));
}

std::unique_ptr<PackedCache> PackedCache::Open(const WeightPacker& packer, const TensorStore& store) {
  const PackedCacheOptions& options = packer.cache();
  if (options.folder.empty() || packer.layout().empty()) return nullptr;
  const absl::StatusOr<std::string> weights = store.Identity();
  if (!weights.ok()) return nullptr;  // loading will find the same error
  std::string identity = absl::StrCat(packer.layout(), "\n", *weights);
  Fnv1a key;
  key.Add(identity);
  const std::string part = fs::absolute(store.name()).parent_path().filename();
  std::unique_ptr<PackedCache> cache(new PackedCache(
      options, absl::StrCat(options.folder, "/", part, "-", key.hex(), ".safetensors"), std::move(identity)));
  std::error_code error;
  if (fs::exists(cache->path_, error)) {
    const absl::Status read = cache->Read();
    if (read.ok()) return cache;
    cache->Log(absl::StrCat(std::string(read.message()), "; it is written anew"));
  }
  absl::StatusOr<std::unique_ptr<NewPackedFile>> written = NewPackedFile::Create(cache->path_);
  if (!written.ok()) {
    cache->Log(std::string(written.status().message()));
    return nullptr;
  }
  cache->written_ = *std::move(written);
  return cache;
}

absl::Status PackedCache::Read() {
  ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path_));
  std::map<std::string, std::string> metadata;
  ASSIGN_OR_RETURN(const auto entries, ReadSafetensorsHeader(file, &metadata));
  if (metadata["identity"] != identity_) {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": is of other weights"));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> mapped, MappedFile::Map(file));
  std::map<std::string, std::vector<PackedBlock>> blocks;
  for (const auto& [name, entry] : entries) {
    // The entries of a name follow each other, for its blocks are numbered with one digit.
    std::vector<PackedBlock>& of_name = blocks[name.substr(0, name.rfind('/'))];
    if (name != BlockName(name.substr(0, name.rfind('/')), of_name.size()) || entry.begin % kBlockAlignment != 0) {
      return absl::InvalidArgumentError(absl::StrCat(path_, ": has the unknown entry '", name, "'"));
    }
    of_name.push_back({mapped->bytes().subspan(entry.begin, entry.bytes), mapped});
  }
  file_ = std::move(mapped);
  blocks_ = std::move(blocks);
  return absl::OkStatus();
}

std::string PackedCache::Name(const std::string& what) {
  const int use = uses_[what]++;
  return use == 0 ? what : absl::StrCat(what, " #", use);
}

std::vector<PackedBlock> PackedCache::Find(const std::string& name) {
  if (file_ == nullptr) return {};
  const auto found = blocks_.find(name);
  if (found != blocks_.end()) return found->second;
  incomplete_ = true;
  return {};
}

void PackedCache::Keep(const std::string& name, std::span<const std::span<const std::byte>> blocks) {
  for (size_t i = 0; written_ != nullptr && i < blocks.size(); ++i) {
    const absl::Status added = written_->Add(BlockName(name, i), blocks[i]);
    if (added.ok()) continue;
    Log(std::string(added.message()));
    written_ = nullptr;
  }
}

void PackedCache::Finish() {
  if (incomplete_) {
    // Another version of this program has written it. The next start writes one that is complete.
    std::error_code error;
    fs::remove(path_, error);
    Log(absl::StrCat(path_, ": lacks some of the weights, and has been removed"));
  } else if (file_ != nullptr) {
    Log(absl::StrCat("uses ", path_));
  }
  if (written_ == nullptr) return;
  const absl::Status finished = written_->Finish(identity_);
  Log(finished.ok() ? absl::StrCat("wrote ", path_) : std::string(finished.message()));
}

}  // namespace longtake
