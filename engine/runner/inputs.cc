#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "engine/core/float16.h"
#include "engine/runner/modules.h"

namespace longtake {

bool ModuleInputs::Has(const std::string& name) const { return store_ != nullptr && store_->Has(name); }

void ModuleInputs::Fail(const std::string& name, const std::string& why) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat("input tensor \"", name, "\": ", why));
}

absl::StatusOr<HostTensor> ModuleInputs::Get(const std::string& name, size_t rank) {
  if (store_ == nullptr) return absl::InvalidArgumentError("--input: this module reads tensors from a file");
  ASSIGN_OR_RETURN(const HostTensor tensor, store_->GetAny(name));
  if (tensor.shape.size() != rank) {
    return absl::InvalidArgumentError(
        absl::StrCat("input tensor \"", name, "\": has ", tensor.shape.size(), " dimensions, not ", rank));
  }
  if (tensor.elements() == 0) return absl::InvalidArgumentError(absl::StrCat("input tensor \"", name, "\": is empty"));
  return tensor;
}

std::vector<float> ModuleInputs::Floats(const std::string& name, size_t rank, std::vector<int64_t>* shape) {
  shape->assign(rank, 0);
  if (!status_.ok()) return {};
  const absl::StatusOr<HostTensor> tensor = Get(name, rank);
  if (!tensor.ok()) {
    status_ = tensor.status();
    return {};
  }
  if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kBF16 && tensor->dtype != DType::kF16) {
    Fail(name, "is not of a float type");
    return {};
  }
  *shape = tensor->shape;
  return ToFloats(*tensor);
}

std::vector<int64_t> ModuleInputs::Ints(const std::string& name, size_t rank, std::vector<int64_t>* shape) {
  shape->assign(rank, 0);
  if (!status_.ok()) return {};
  const absl::StatusOr<HostTensor> tensor = Get(name, rank);
  if (!tensor.ok()) {
    status_ = tensor.status();
    return {};
  }
  *shape = tensor->shape;
  std::vector<int64_t> values(tensor->elements());
  for (size_t i = 0; i < values.size(); ++i) {
    if (tensor->dtype == DType::kI64) {
      values[i] = static_cast<const int64_t*>(tensor->data)[i];
    } else if (tensor->dtype == DType::kI32) {
      values[i] = static_cast<const int32_t*>(tensor->data)[i];
    } else if (tensor->dtype == DType::kU8) {
      values[i] = static_cast<const uint8_t*>(tensor->data)[i];
    } else {
      Fail(name, "is not of an integer type");
      return {};
    }
  }
  return values;
}

}  // namespace longtake
