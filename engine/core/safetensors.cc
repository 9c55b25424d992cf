#include "engine/core/safetensors.h"

#include <new>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/core/fnv1a.h"
#include "engine/core/input_file.h"
#include "engine/core/safetensors_header.h"
#include "engine/core/weight_files.h"

namespace longtake {
namespace {

// Recycle frees blocks larger than this. Layers stay below it (at most 60 MB in the 2B model); the vocabulary's table
// does not (1.2 GB for Gemma-2-2B).
constexpr uint64_t kMostKept = uint64_t{256} << 20;

std::string ShapeText(const std::vector<int64_t>& shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

struct Block {
  std::unique_ptr<std::byte[]> data;
  uint64_t bytes = 0;
};

}  // namespace

struct TensorStore::Impl {
  struct Tensor {
    size_t file = 0;
    TensorEntry entry;
    bool used = false;
  };

  std::string name;  // of the store, for errors
  std::vector<InputFile> files;
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;  // of a single file
  uint64_t used_bytes = 0;
  std::vector<Block> blocks;
  size_t blocks_in_use = 0;  // the first ones of `blocks`

  // Adds a file. With `expected`, the file must hold exactly those tensors.
  absl::Status Add(const std::string& path, const std::set<std::string>* expected, bool keep_metadata = false) {
    ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
    ASSIGN_OR_RETURN(auto entries, ReadSafetensorsHeader(file, keep_metadata ? &metadata : nullptr));
    if (expected != nullptr) {
      for (const std::string& tensor : *expected) {
        if (!entries.contains(tensor)) {
          return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor, "' of the index is missing"));
        }
      }
    }
    for (auto& [tensor, entry] : entries) {
      if (expected != nullptr && !expected->contains(tensor)) {
        return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor, "' is not in the index"));
      }
      tensors[tensor] = {files.size(), std::move(entry), false};
    }
    files.push_back(std::move(file));
    return absl::OkStatus();
  }

  // Finds the tensor and counts it as used.
  absl::StatusOr<const Tensor*> Use(const std::string& tensor) {
    const auto it = tensors.find(tensor);
    if (it == tensors.end()) return absl::NotFoundError(absl::StrCat(name, ": tensor '", tensor, "' is missing"));
    if (!std::exchange(it->second.used, true)) used_bytes += it->second.entry.bytes;
    return &it->second;
  }

  absl::StatusOr<const Tensor*> UseWeight(const std::string& tensor, const std::vector<int64_t>& shape) {
    ASSIGN_OR_RETURN(const Tensor* t, Use(tensor));
    const std::string& path = files[t->file].path();
    if (t->entry.shape != shape) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor, "' has the shape ",
                                                     ShapeText(t->entry.shape), ", but ", ShapeText(shape),
                                                     " is needed"));
    }
    const DType dtype = t->entry.dtype;
    if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", tensor, "' has the type ",
                                                     std::string(longtake::Name(dtype)), ", which is no weight's"));
    }
    return t;
  }

  // Returns memory of at least `bytes` bytes, or null if the allocation fails.
  std::byte* NextBlock(uint64_t bytes) {
    if (blocks_in_use == blocks.size()) blocks.emplace_back();
    Block& block = blocks[blocks_in_use];
    if (block.bytes < bytes || block.data == nullptr) {
      block = {};  // frees the old block before allocating the larger one
      block.data.reset(new (std::nothrow) std::byte[bytes]);
      if (block.data == nullptr) return nullptr;
      block.bytes = bytes;
    }
    ++blocks_in_use;
    return block.data.get();
  }

  absl::StatusOr<HostTensor> Read(const std::string& tensor, const Tensor& t) {
    const InputFile& file = files[t.file];
    std::byte* const data = NextBlock(t.entry.bytes);
    if (data == nullptr) {
      return absl::ResourceExhaustedError(
          absl::StrCat(file.path(), ": no memory for the ", t.entry.bytes, " bytes of tensor '", tensor, "'"));
    }
    RETURN_IF_ERROR(file.Read(t.entry.begin, t.entry.bytes, data));
    return HostTensor{data, t.entry.dtype, t.entry.shape};
  }
};

TensorStore::TensorStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TensorStore::TensorStore(TensorStore&&) noexcept = default;
TensorStore& TensorStore::operator=(TensorStore&&) noexcept = default;
TensorStore::~TensorStore() = default;

absl::StatusOr<TensorStore> TensorStore::Open(const std::string& folder, const std::string& stem) {
  auto impl = std::make_unique<Impl>();
  ASSIGN_OR_RETURN(const WeightFiles found, FindWeightFiles(folder, stem));
  impl->name = found.path;
  for (const auto& [file, tensors] : found.files) {
    RETURN_IF_ERROR(impl->Add(absl::StrCat(folder, "/", file), found.indexed ? &tensors : nullptr));
  }
  return TensorStore(std::move(impl));
}

absl::StatusOr<TensorStore> TensorStore::OpenFile(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->name = path;
  RETURN_IF_ERROR(impl->Add(path, nullptr, /*keep_metadata=*/true));
  return TensorStore(std::move(impl));
}

bool TensorStore::Has(const std::string& name) const { return impl_->tensors.contains(name); }

std::vector<std::string> TensorStore::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : impl_->tensors) names.push_back(name);
  return names;
}

const std::string& TensorStore::name() const { return impl_->name; }

absl::StatusOr<std::string> TensorStore::Identity() const {
  std::string identity;
  Fnv1a hash;
  for (const InputFile& file : impl_->files) {
    const std::string& path = file.path();
    absl::StrAppend(&identity, path.substr(path.rfind('/') + 1), " ", file.size(), " ", file.modified_ns(), "\n");
    RETURN_IF_ERROR(hash.AddSampledFile(file));
  }
  return identity + hash.hex();
}

const std::vector<int64_t>* TensorStore::shape(const std::string& name) const {
  const auto it = impl_->tensors.find(name);
  return it == impl_->tensors.end() ? nullptr : &it->second.entry.shape;
}

const std::string* TensorStore::metadata(const std::string& key) const {
  const auto it = impl_->metadata.find(key);
  return it == impl_->metadata.end() ? nullptr : &it->second;
}

uint64_t TensorStore::total_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : impl_->tensors) bytes += tensor.entry.bytes;
  return bytes;
}

uint64_t TensorStore::used_bytes() const { return impl_->used_bytes; }

absl::StatusOr<HostTensor> TensorStore::Get(const std::string& name, const std::vector<int64_t>& shape) {
  ASSIGN_OR_RETURN(const Impl::Tensor* t, impl_->UseWeight(name, shape));
  return impl_->Read(name, *t);
}

absl::StatusOr<HostTensor> TensorStore::GetAny(const std::string& name) {
  ASSIGN_OR_RETURN(const Impl::Tensor* t, impl_->Use(name));
  return impl_->Read(name, *t);
}

absl::Status TensorStore::Check(const std::string& name, const std::vector<int64_t>& shape) {
  return impl_->UseWeight(name, shape).status();
}

void TensorStore::Ignore(const std::string& prefix) {
  for (const auto& [name, tensor] : impl_->tensors) {
    if (name.starts_with(prefix)) (void)impl_->Use(name);
  }
}

void TensorStore::Recycle() {
  for (Block& block : impl_->blocks) {
    if (block.bytes > kMostKept) block = {};
  }
  impl_->blocks_in_use = 0;
}

absl::Status TensorStore::CheckAllUsed() const {
  for (const auto& [name, tensor] : impl_->tensors) {
    if (tensor.used) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(impl_->files[tensor.file].path(), ": tensor '", name, "' is superfluous"));
  }
  return absl::OkStatus();
}

}  // namespace longtake
