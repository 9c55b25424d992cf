// Matrix products by cuBLASLt. It thinks in columns: our y [rows, outputs] is its D [outputs x rows], so that w is its
// A (transposed) and x its B, and a bias of our columns is one of its rows, which is the one that it can add.
#include <cublasLt.h>

#include <map>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/crc32c.h"
#include "common/status_macros.h"
#include "engine/cuda/matmul.h"
#include "engine/cuda/status.h"

namespace longtake::cuda {
namespace {

// What NVIDIA advises for Hopper; smaller devices ask for less.
constexpr size_t kWorkspaceBytes = size_t{32} << 20;
// The rows that an algorithm is chosen for: the pass that the device is bought for, 15 600 tokens. Any number of rows
// then runs by the same one.
constexpr int64_t kNominalRows = 15600;
// Algorithms that are asked for, best first; the first that does not split the inputs is taken. Where splits are much
// faster (few outputs) they fill the first places.
constexpr int kCandidates = 64;
// On the device: beta is 0 or 1. Float32.
constexpr float kConstants[] = {0.f, 1.f};

cudaDataType_t TypeOf(OperandType type) {
  switch (type) {
    case OperandType::kE4m3:
      return CUDA_R_8F_E4M3;
    case OperandType::kNvfp4:
      return CUDA_R_4F_E2M1;
    case OperandType::kBf16:
      break;
  }
  return CUDA_R_16BF;
}

cublasLtEpilogue_t EpilogueOf(ProductEpilogue e) {
  switch (e) {
    case ProductEpilogue::kBias:
    case ProductEpilogue::kAddBias:
      return CUBLASLT_EPILOGUE_BIAS;
    case ProductEpilogue::kBiasGelu:
      return CUBLASLT_EPILOGUE_GELU_BIAS;
    case ProductEpilogue::kNone:
    case ProductEpilogue::kAdd:
      break;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

// A product's descriptors. On the stack: the library keeps nothing of them. The first failure sticks.
struct Call {
  cublasLtMatmulDescOpaque_t desc;
  cublasLtMatrixLayoutOpaque_t a, b, d;
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;

  void Check(cublasStatus_t s) {
    if (status == CUBLAS_STATUS_SUCCESS) status = s;
  }
  template <typename T>
  void Set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    Check(cublasLtMatmulDescSetAttribute(&desc, attribute, &value, sizeof value));
  }

  // `strides`: whether the operands' own, or those of tight rows for choosing an algorithm.
  Call(const Product& p, int64_t rows, bool strides) {
    Check(cublasLtMatmulDescInit(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    Set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
    Set(CUBLASLT_MATMUL_DESC_EPILOGUE, EpilogueOf(p.epilogue));
    if (p.bias != nullptr) {
      Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
      Set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, p.bias_f32() ? CUDA_R_32F : CUDA_R_16BF);
    }
    if (p.x.type != OperandType::kBf16) {
      const cublasLtMatmulMatrixScale_t mode = p.x.type == OperandType::kE4m3
                                                   ? CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F
                                                   : CUBLASLT_MATMUL_MATRIX_SCALE_VEC16_UE4M3;
      Set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
      Set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
      Set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.w.scales);
      Set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.x.scales);
    }
    // Hopper's tensor cores add e4m3 products with about 14 bits. Unasked, the kernels move the sums to float32
    // registers every few steps, which costs time (gpu.sh's probe shows how much); e4m3 itself rounds to 4 bits.
    if (p.x.type == OperandType::kE4m3) Set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, int8_t{1});
    if (p.tensor_scale != nullptr) Set(CUBLASLT_MATMUL_DESC_POINTER_MODE, CUBLASLT_POINTER_MODE_DEVICE);
    const cudaDataType_t operand = TypeOf(p.x.type);
    Check(cublasLtMatrixLayoutInit(&a, operand, p.inputs, p.outputs, strides ? p.w.stride : p.inputs));
    Check(cublasLtMatrixLayoutInit(&b, operand, p.inputs, rows, strides ? p.x.stride : p.inputs));
    Check(cublasLtMatrixLayoutInit(&d, p.y_f32 ? CUDA_R_32F : CUDA_R_16BF, p.outputs, rows,
                                   strides ? p.y_stride : (p.outputs + 7) / 8 * 8));
  }
};

bool Splits(const cublasLtMatmulAlgo_t& algorithm) {
  int32_t parts = 0;
  uint32_t scheme = 0;
  size_t written = 0;
  const bool known = cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts,
                                                          sizeof parts, &written) == CUBLAS_STATUS_SUCCESS &&
                     cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme,
                                                          sizeof scheme, &written) == CUBLAS_STATUS_SUCCESS;
  return !known || parts > 1 || scheme != CUBLASLT_REDUCTION_SCHEME_NONE;
}

// All that an algorithm is made of, as text.
std::string ConfigOf(const cublasLtMatmulAlgo_t& algorithm) {
  std::string text;
  const auto append = [&](cublasLtMatmulAlgoConfigAttributes_t attribute, auto value) {
    size_t written = 0;
    if (cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written) ==
        CUBLAS_STATUS_SUCCESS) {
      absl::StrAppend(&text, ",", value);
    } else {
      absl::StrAppend(&text, ",-");
    }
  };
  append(CUBLASLT_ALGO_CONFIG_ID, int32_t{0});
  append(CUBLASLT_ALGO_CONFIG_TILE_ID, uint32_t{0});
  append(CUBLASLT_ALGO_CONFIG_STAGES_ID, uint32_t{0});
  append(CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING, uint32_t{0});
  append(CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION, uint32_t{0});
  append(CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID, uint16_t{0});
  append(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID, uint16_t{0});
  return text;
}

cudaError_t ToCuda(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return cudaSuccess;
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return cudaErrorNotSupported;
    case CUBLAS_STATUS_INVALID_VALUE:
      return cudaErrorInvalidValue;
    case CUBLAS_STATUS_ALLOC_FAILED:
      return cudaErrorMemoryAllocation;
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return cudaErrorLaunchFailure;
    default:
      return cudaErrorUnknown;
  }
}

class CublasLtMatMul : public MatMul {
 public:
  explicit CublasLtMatMul(Context& context) : context_(context) {}
  ~CublasLtMatMul() override {
    if (handle_ != nullptr) cublasLtDestroy(handle_);
  }

  absl::Status Init() {
    RETURN_IF_ERROR(context_.Bind());
    if (const cublasStatus_t status = cublasLtCreate(&handle_); status != CUBLAS_STATUS_SUCCESS) {
      return absl::InternalError(absl::StrCat("cuBLASLt: ", cublasLtGetStatusName(status)));
    }
    ASSIGN_OR_RETURN(workspace_, AllocateDevice(kWorkspaceBytes));
    ASSIGN_OR_RETURN(constants_, AllocateDevice(sizeof kConstants));
    return ToStatus(
        cudaMemcpyAsync(constants_.get(), kConstants, sizeof kConstants, cudaMemcpyHostToDevice, context_.stream()),
        "cuBLASLt");
  }

  void Run(const Product& p) override {
    Launcher& launcher = context_.launcher();
    if (p.rows == 0 || !launcher.Bind()) return;
    const Plan& plan = PlanOf(p);
    if (!plan.found) {
      launcher.Check(cudaErrorNotSupported, absl::StrCat(plan.name, ": cuBLASLt has none without a split").c_str());
      return;
    }
    // Plans stay where they are as long as this object: maps move nothing.
    RunProduct(launcher, plan.name, p,
               [this, p, &plan](cudaStream_t stream) { return ToCuda(Enqueue(p, plan.algorithm, stream)); });
  }

  int plans() const override { return static_cast<int>(plans_.size()); }
  size_t workspace_bytes() const override { return kWorkspaceBytes; }
  // With a sum of the algorithms chosen so far: another device of the same architecture may be given others.
  std::string name() const override {
    std::string all;
    for (const auto& [key, plan] : plans_) {
      const auto& [outputs, inputs, type, y_f32, epilogue] = key;
      absl::StrAppend(&all, outputs, "x", inputs, ",", static_cast<int>(type), ",", y_f32, ",",
                      static_cast<int>(epilogue), ":", plan.found ? ConfigOf(plan.algorithm) : "none", ";");
    }
    return absl::StrCat("cublaslt-", cublasLtGetVersion(), "-",
                        absl::Hex(Crc32c(std::as_bytes(std::span(all))), absl::kZeroPad8));
  }

 private:
  using Key = std::tuple<int64_t, int64_t, OperandType, bool, ProductEpilogue>;

  struct Plan {
    bool found = false;
    cublasLtMatmulAlgo_t algorithm = {};
    const char* name = nullptr;
  };

  cublasStatus_t Enqueue(const Product& p, const cublasLtMatmulAlgo_t& algorithm, cudaStream_t stream) {
    Call call(p, p.rows, /*strides=*/true);
    const bool adds = p.epilogue == ProductEpilogue::kAdd || p.epilogue == ProductEpilogue::kAddBias;
    const auto* device_constants = static_cast<const float*>(constants_.get());
    const void* alpha = p.tensor_scale != nullptr ? p.tensor_scale : &kConstants[1];
    const void* beta = p.tensor_scale != nullptr ? &device_constants[adds ? 1 : 0] : &kConstants[adds ? 1 : 0];
    call.Check(cublasLtMatmul(handle_, &call.desc, alpha, p.w.data, &call.a, p.x.data, &call.b, beta, p.y, &call.d, p.y,
                              &call.d, &algorithm, workspace_.get(), kWorkspaceBytes, stream));
    return call.status;
  }

  const Plan& PlanOf(const Product& p) {
    const Key key = {p.outputs, p.inputs, p.x.type, p.y_f32, p.epilogue};
    const auto [it, is_new] = plans_.try_emplace(key);
    Plan& plan = it->second;
    if (is_new) {
      plan.name = NameOf(p);
      Choose(p, &plan);
    }
    return plan;
  }

  void Choose(const Product& p, Plan* plan) {
    Call call(p, kNominalRows, /*strides=*/false);
    cublasLtMatmulPreferenceOpaque_t preference;
    call.Check(cublasLtMatmulPreferenceInit(&preference));
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
      call.Check(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value));
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspaceBytes);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE});
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      prefer(attribute, uint32_t{16});
    }
    cublasLtMatmulHeuristicResult_t found[kCandidates];
    int count = 0;
    if (call.status != CUBLAS_STATUS_SUCCESS ||
        cublasLtMatmulAlgoGetHeuristic(handle_, &call.desc, &call.a, &call.b, &call.d, &call.d, &preference,
                                       kCandidates, found, &count) != CUBLAS_STATUS_SUCCESS) {
      return;
    }
    for (int i = 0; i < count && !plan->found; ++i) {
      plan->found = found[i].state == CUBLAS_STATUS_SUCCESS && !Splits(found[i].algo);
      if (plan->found) plan->algorithm = found[i].algo;
    }
  }

  Context& context_;
  cublasLtHandle_t handle_ = nullptr;
  DeviceMemory workspace_, constants_;
  std::map<Key, Plan> plans_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MatMul>> MakeMatMul(Context& context) {
  auto matmul = std::make_unique<CublasLtMatMul>(context);
  RETURN_IF_ERROR(matmul->Init());
  return matmul;
}

}  // namespace longtake::cuda
