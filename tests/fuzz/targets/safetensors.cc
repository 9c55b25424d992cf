// A safetensors file: its header, and every tensor that it declares.
#include "engine/core/safetensors.h"

#include <cstdint>
#include <string>

#include "tests/fuzz/check.h"
#include "tests/fuzz/memory_file.h"

using longtake::HostTensor;
using longtake::TensorStore;
using longtake::fuzz::Check;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static longtake::fuzz::MemoryFile file;
  file.Write(longtake::fuzz::ToText(data, size));
  absl::StatusOr<TensorStore> store = TensorStore::OpenFile(file.path());
  if (!store.ok()) {
    Check(absl::IsInvalidArgument(store.status()), "a wrong file is another error than InvalidArgument");
    return 0;
  }
  Check(store->total_bytes() <= size, "the tensors have more bytes than the file");
  for (const std::string& name : store->names()) {
    const absl::StatusOr<HostTensor> tensor = store->GetAny(name);
    Check(tensor.ok(), "a tensor of an accepted header cannot be read");
    Check(tensor->elements() >= 0 && static_cast<uint64_t>(tensor->elements()) <= size, "more elements than bytes");
    Check(tensor->elements() == 0 || tensor->data != nullptr, "a tensor has no data");
    store->Recycle();
  }
  Check(store->used_bytes() == store->total_bytes(), "bytes of the file belong to no tensor, or to two");
  Check(store->CheckAllUsed().ok(), "a tensor is not counted as used");
  return 0;
}
