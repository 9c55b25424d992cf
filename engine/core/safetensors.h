// Reading and writing of safetensors files: an 8-byte little-endian header length, a JSON header, then the data.
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

// The tensors of one module's folder. Data is read when it is asked for, into memory of the store, so that it is
// aligned wherever it lies in the file.
class TensorStore {
 public:
  // `folder` holds the weights as weight_files.h says. Errors name the file, and the tensor where one is at fault
  // (offsets out of the file, overlapping, shape and size that disagree, unknown type, in the header twice).
  static absl::StatusOr<TensorStore> Open(const std::string& folder, const std::string& stem);
  // A single file, for tensors that are no module.
  static absl::StatusOr<TensorStore> OpenFile(const std::string& path);

  TensorStore(TensorStore&&) noexcept;
  TensorStore& operator=(TensorStore&&) noexcept;
  ~TensorStore();

  bool Has(const std::string& name) const;
  std::vector<std::string> names() const;
  uint64_t total_bytes() const;
  // Of the tensors that count as used, each once.
  uint64_t used_bytes() const;

  // The tensor, which must have that shape, and counts as used from then on. The view is valid until Recycle() or the
  // store's end. NotFound or InvalidArgument name the file, DataLoss means that it has become shorter.
  // Weights may be f32, bf16 or f16; GetAny takes any type and shape.
  absl::StatusOr<HostTensor> Get(const std::string& name, const std::vector<int64_t>& shape);
  absl::StatusOr<HostTensor> GetAny(const std::string& name);
  // As Get, of a tensor whose data is not wanted.
  absl::Status Check(const std::string& name, const std::vector<int64_t>& shape);

  // Ends all views. Their memory is read into again, so that loading a model takes no more memory than the tensors that
  // are in use together, and no new pages for each.
  void Recycle();

  // InvalidArgument naming a tensor that nobody asked for, if there is one.
  absl::Status CheckAllUsed() const;

 private:
  struct Impl;
  explicit TensorStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Writes contiguous tensors, in the map's order.
absl::Status WriteSafetensors(const std::string& path, const std::map<std::string, HostTensor>& tensors);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_SAFETENSORS_H_
