// The module runner: runs one module of a model folder on tensors from a file, to compare its results with other
// implementations.
#ifndef LONGTAKE_ENGINE_RUNNER_MODULES_H_
#define LONGTAKE_ENGINE_RUNNER_MODULES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/core/safetensors.h"
#include "engine/ops/ops.h"

namespace longtake {

// Options of the command line.
struct ModuleRequest {
  std::string model_dir;
  std::string prompt;     // caption
  bool negative = false;  // caption: the prompt is a negative one
  int steps = 50;         // bidirectional
  double guidance = 1.0;  // bidirectional
  // transformer, transformer_blocks: NAME or NAME=STRENGTH of adapters in the folder MODEL/adapters.
  std::vector<std::string> adapters;
  bool tiny = false;  // vae_decoder: the folder's tiny decoder
};

// Reads input tensors and checks their shapes. The first error is kept.
class ModuleInputs {
 public:
  explicit ModuleInputs(TensorStore* store) : store_(store) {}  // null: no input tensors

  bool Has(const std::string& name) const;
  // Reads the tensor, which must have `rank` dimensions, and sets `shape`. Floats accepts f32, bf16 and f16; Ints
  // accepts i64, i32 and u8.
  std::vector<float> Floats(const std::string& name, size_t rank, std::vector<int64_t>* shape);
  std::vector<int64_t> Ints(const std::string& name, size_t rank, std::vector<int64_t>* shape);
  void Fail(const std::string& name, const std::string& why);
  const absl::Status& status() const { return status_; }

 private:
  absl::StatusOr<HostTensor> Get(const std::string& name, size_t rank);
  TensorStore* store_;
  absl::Status status_;
};

struct OutputTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};
using ModuleOutputs = std::map<std::string, OutputTensor>;
using ModuleFunction = absl::StatusOr<ModuleOutputs> (*)(Ops&, const ModuleRequest&, ModuleInputs&);

absl::StatusOr<ModuleOutputs> RunCaption(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunTextEncoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunTokenizer(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunTransformer(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunTransformerBlocks(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunFewStep(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunBidirectional(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunVaeDecoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in);
absl::StatusOr<ModuleOutputs> RunVaeEncoder(Ops& ops, const ModuleRequest& request, ModuleInputs& in);

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_RUNNER_MODULES_H_
