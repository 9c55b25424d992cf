// Reads and writes safetensors files: an 8-byte little-endian header length, a JSON header, then the data.
#ifndef LONGTAKE_ENGINE_CORE_SAFETENSORS_H_
#define LONGTAKE_ENGINE_CORE_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/tensor.h"

namespace longtake {

// The tensors of one module's folder. Data is read on request, into aligned memory of the store, because it may be
// unaligned in the file.
class TensorStore {
 public:
  // Opens the weights of `folder` (weight_files.h). Errors name the file, and the tensor if one is at fault (offsets
  // outside the file, overlap, size that contradicts the shape, unknown type, two entries).
  static absl::StatusOr<TensorStore> Open(const std::string& folder, const std::string& stem);
  // Opens a single file, for tensors that do not belong to a module. Only of such a store metadata is kept.
  static absl::StatusOr<TensorStore> OpenFile(const std::string& path);

  TensorStore(TensorStore&&) noexcept;
  TensorStore& operator=(TensorStore&&) noexcept;
  ~TensorStore();

  bool Has(const std::string& name) const;
  std::vector<std::string> names() const;
  const std::string& name() const;  // the file's or folder's, as errors name it
  // Of the files: names, sizes, times of change, and a hash of what Fnv1a::AddSampledFile reads. Equal identities: the
  // same weights.
  absl::StatusOr<std::string> Identity() const;
  // Null: there is no such tensor.
  const std::vector<int64_t>* shape(const std::string& name) const;
  // The header's string of that key, or null.
  const std::string* metadata(const std::string& key) const;
  uint64_t total_bytes() const;
  // Bytes of the tensors that count as used, each counted once.
  uint64_t used_bytes() const;

  // Reads the tensor, which must have that shape, and counts it as used. The view is valid until Recycle() or the end
  // of the store. NotFound and InvalidArgument name the file; DataLoss: the file has been truncated. Get accepts f32,
  // bf16 and f16; GetAny accepts any type and shape.
  absl::StatusOr<HostTensor> Get(const std::string& name, const std::vector<int64_t>& shape);
  absl::StatusOr<HostTensor> GetAny(const std::string& name);
  // Like Get, but without reading the data.
  absl::Status Check(const std::string& name, const std::vector<int64_t>& shape);

  // Counts all tensors whose names begin with `prefix` as used.
  void Ignore(const std::string& prefix);

  // Invalidates all views and reuses their memory. Loading a model then needs only the memory of the tensors that are
  // in use at the same time, and no new pages for each.
  void Recycle();

  // InvalidArgument names a tensor that was not used, if there is one.
  absl::Status CheckAllUsed() const;

 private:
  struct Impl;
  explicit TensorStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Writes contiguous tensors in the order of the map.
absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, HostTensor>& tensors);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SAFETENSORS_H_
