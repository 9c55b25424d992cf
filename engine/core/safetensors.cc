#include "engine/core/safetensors.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "engine/core/json_config.h"
#include "engine/core/mapped_file.h"
#include "engine/core/safetensors_header.h"

namespace longtake {
namespace {

// Whether a shard's name is a plain file name of the folder.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

std::string ShapeText(const std::vector<int64_t>& shape) { return absl::StrCat("[", absl::StrJoin(shape, ","), "]"); }

}  // namespace

struct TensorStore::Impl {
  struct Tensor {
    size_t file = 0;
    TensorEntry entry;
    bool used = false;
    std::vector<uint64_t> aligned;  // a copy, where the file's bytes lie at no multiple of the element's size
  };

  std::string name;  // of the store, for errors
  std::vector<MappedFile> files;
  std::map<std::string, Tensor> tensors;
  uint64_t used_bytes = 0;

  // Adds a file; with `expected`, only its tensors may and all of them must be inside.
  absl::Status Add(const std::string& path, const std::set<std::string>* expected) {
    ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
    ASSIGN_OR_RETURN(auto entries, ParseSafetensorsHeader(file.bytes(), path));
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
      tensors[tensor] = {files.size(), std::move(entry), false, {}};
    }
    files.push_back(std::move(file));
    return absl::OkStatus();
  }

  absl::Status AddShards(const std::string& folder, const std::string& index) {
    ASSIGN_OR_RETURN(JsonConfig config, JsonConfig::Load(index));
    config.Ignore({"metadata"});
    const nlohmann::json* map = config.Raw("weight_map");
    if (map == nullptr || !map->is_object()) config.Fail("weight_map", "must be an object");
    RETURN_IF_ERROR(config.Finish());
    std::map<std::string, std::set<std::string>> shards;
    for (const auto& [tensor, shard] : map->items()) {
      if (!shard.is_string() || !IsPlainName(shard.get<std::string>())) {
        return absl::InvalidArgumentError(absl::StrCat(index, ": tensor '", tensor, "' has no plain file name"));
      }
      shards[shard.get<std::string>()].insert(tensor);
    }
    for (const auto& [shard, expected] : shards) RETURN_IF_ERROR(Add(folder + "/" + shard, &expected));
    return absl::OkStatus();
  }

  absl::StatusOr<HostTensor> View(const std::string& tensor) {
    const auto it = tensors.find(tensor);
    if (it == tensors.end()) return absl::NotFoundError(absl::StrCat(name, ": tensor '", tensor, "' is missing"));
    Tensor& t = it->second;
    if (!t.used) used_bytes += t.entry.bytes;
    t.used = true;
    const char* data = files[t.file].bytes().data() + t.entry.begin;
    if (t.entry.bytes > 0 && reinterpret_cast<uintptr_t>(data) % SizeOf(t.entry.dtype) != 0) {
      if (t.aligned.empty()) {
        t.aligned.resize((t.entry.bytes + 7) / 8);
        std::memcpy(t.aligned.data(), data, t.entry.bytes);
      }
      data = reinterpret_cast<const char*>(t.aligned.data());
    }
    return HostTensor{data, t.entry.dtype, t.entry.shape};
  }
};

TensorStore::TensorStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TensorStore::TensorStore(TensorStore&&) noexcept = default;
TensorStore& TensorStore::operator=(TensorStore&&) noexcept = default;
TensorStore::~TensorStore() = default;

absl::StatusOr<TensorStore> TensorStore::Open(const std::string& folder, const std::string& stem) {
  auto impl = std::make_unique<Impl>();
  const std::string file = absl::StrCat(folder, "/", stem, ".safetensors");
  const std::string index = file + ".index.json";
  std::error_code ignored;
  if (std::filesystem::exists(file, ignored) || !std::filesystem::exists(index, ignored)) return OpenFile(file);
  impl->name = index;
  RETURN_IF_ERROR(impl->AddShards(folder, index));
  return TensorStore(std::move(impl));
}

absl::StatusOr<TensorStore> TensorStore::OpenFile(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->name = path;
  RETURN_IF_ERROR(impl->Add(path, nullptr));
  return TensorStore(std::move(impl));
}

bool TensorStore::Has(const std::string& name) const { return impl_->tensors.contains(name); }

std::vector<std::string> TensorStore::names() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : impl_->tensors) names.push_back(name);
  return names;
}

uint64_t TensorStore::total_bytes() const {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : impl_->tensors) bytes += tensor.entry.bytes;
  return bytes;
}

uint64_t TensorStore::used_bytes() const { return impl_->used_bytes; }

absl::StatusOr<HostTensor> TensorStore::Get(const std::string& name, const std::vector<int64_t>& shape) {
  ASSIGN_OR_RETURN(HostTensor t, impl_->View(name));
  const std::string& path = impl_->files[impl_->tensors[name].file].path();
  if (t.shape != shape) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", name, "' has the shape ", ShapeText(t.shape),
                                                   ", but ", ShapeText(shape), " is needed"));
  }
  if (t.dtype != DType::kF32 && t.dtype != DType::kBF16 && t.dtype != DType::kF16) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": tensor '", name, "' has the type ",
                                                   std::string(longtake::Name(t.dtype)), ", which is no weight's"));
  }
  return t;
}

absl::StatusOr<HostTensor> TensorStore::GetAny(const std::string& name) { return impl_->View(name); }

absl::Status TensorStore::CheckAllUsed() const {
  for (const auto& [name, tensor] : impl_->tensors) {
    if (tensor.used) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(impl_->files[tensor.file].path(), ": tensor '", name, "' is superfluous"));
  }
  return absl::OkStatus();
}

absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, HostTensor>& tensors) {
  nlohmann::json header = nlohmann::json::object();
  uint64_t offset = 0;
  for (const auto& [name, t] : tensors) {
    const uint64_t bytes = static_cast<uint64_t>(t.elements()) * SizeOf(t.dtype);
    header[name] = {
        {"dtype", SafetensorsName(t.dtype)}, {"shape", t.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');  // data starts at a multiple of 8, as the format asks
  const uint64_t length = text.size();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), 8);
  file.write(text.data(), static_cast<std::streamsize>(text.size()));
  for (const auto& [name, t] : tensors) {
    file.write(static_cast<const char*>(t.data), t.elements() * static_cast<int64_t>(SizeOf(t.dtype)));
  }
  file.close();
  if (!file) return absl::InternalError(absl::StrCat(path, ": cannot be written"));
  return absl::OkStatus();
}

}  // namespace longtake
