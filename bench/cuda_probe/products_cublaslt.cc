#include <cublasLt.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/cuda_probe/products.h"

namespace longtake::probe {
namespace {

constexpr int64_t kRows = 15600;  // of a pass
constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr int kCandidates = 16;
constexpr int kWarmRuns = 2, kTimedRuns = 5;

struct Shape {
  const char* name;
  int64_t inputs, outputs;
};
constexpr Shape kShapes[] = {
    {"q, k, v", 2240, 6720},
    {"out, cross q, cross out", 2240, 2240},
    {"inverted", 2240, 13440},
    {"point, temporal", 6720, 2240},
};
enum class Kind { kPlain, kAdd, kAddBias };

class Products {
 public:
  explicit Products(cudaStream_t stream) : stream_(stream) {
    cublasLtCreate(&handle_);
    cudaMalloc(&workspace_, kWorkspaceBytes);
    cudaMalloc(&x_, kRows * 6720 * 2);
    cudaMalloc(&w_, 13440 * 2240 * 2);
    cudaMalloc(&y_, kRows * 13440 * 4);
    cudaMalloc(&scales_, kRows * sizeof(float));
    cudaMalloc(&bias_, 13440 * sizeof(float));
    cudaEventCreate(&begin_);
    cudaEventCreate(&end_);
    // Bytes that are numbers of about 1 in both types: 0x38 ... 0x3f is 1 to 1.9 in e4m3, and with 0x3f above a bf16 of
    // about 0.5 to 1. A device clocks higher on zeros.
    std::vector<uint8_t> bytes(size_t{kRows} * 6720 * 2);
    uint32_t state = 1;
    for (size_t i = 0; i < bytes.size(); ++i) {
      state = state * 1664525u + 1013904223u;
      bytes[i] = i % 2 == 1 ? (state >> 31 ? 0xbf : 0x3f) : static_cast<uint8_t>(0x38 + (state >> 28) % 8);
    }
    cudaMemcpyAsync(x_, bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream_);
    cudaMemcpyAsync(w_, bytes.data(), 13440 * 2240 * 2, cudaMemcpyHostToDevice, stream_);
    const std::vector<float> ones(kRows, 1.f);
    cudaMemcpyAsync(scales_, ones.data(), kRows * sizeof(float), cudaMemcpyHostToDevice, stream_);
    cudaMemsetAsync(bias_, 0, 13440 * sizeof(float), stream_);
    cudaStreamSynchronize(stream_);
  }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;
  ~Products() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    for (void* p : {workspace_, x_, w_, y_, scales_, bias_}) cudaFree(p);
    cublasLtDestroy(handle_);
  }

  bool Probe(const Shape& shape, bool e4m3, bool fast, bool f32_out, Kind kind) {
    const char* const kinds[] = {"", " added", " added, bias"};
    std::printf("product %-24s %5ld x %5ld %-8s to %s%s%s: ", shape.name, static_cast<long>(shape.inputs),
                static_cast<long>(shape.outputs), e4m3 ? "e4m3" : "bf16", f32_out ? "f32" : "bf16",
                kinds[static_cast<int>(kind)], fast ? ", fast accumulation" : "");
    Call call(*this, shape, kRows, e4m3, fast, f32_out, kind);
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &kWorkspaceBytes,
                                         sizeof kWorkspaceBytes);
    cublasLtMatmulHeuristicResult_t found[kCandidates];
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle_, call.desc, call.a, call.b, call.d, call.d,
                                                                 preference, kCandidates, found, &count);
    cublasLtMatmulPreferenceDestroy(preference);
    int taken = -1;
    double best = 0, own = 0;
    std::string rates;
    for (int i = 0; i < count; ++i) {
      const double rate = Rate(call, found[i].algo, shape);
      const bool splits = Attribute<int32_t>(found[i].algo, CUBLASLT_ALGO_CONFIG_SPLITK_NUM) > 1;
      if (!splits && taken < 0) {
        taken = i;
        own = rate;
      }
      if (!splits) best = std::max(best, rate);
      char text[32];
      std::snprintf(text, sizeof text, " %.0f%s", rate, splits ? "s" : "");
      rates += text;
    }
    if (taken < 0) {
      std::printf("NO ALGORITHM (%d found, %s)\n", count, cublasLtGetStatusName(status));
      return false;
    }
    const cublasLtMatmulAlgo_t& algorithm = found[taken].algo;
    const bool same = kind != Kind::kPlain || SameRows(shape, algorithm, e4m3, fast, f32_out);
    std::printf("%d found, takes %d (id %d tile %u stages %u cluster %u): %.0f of %.0f TFLOP/s, rows %s; all:%s\n",
                count, taken, Attribute<int32_t>(algorithm, CUBLASLT_ALGO_CONFIG_ID),
                Attribute<uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID),
                Attribute<uint32_t>(algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID),
                unsigned{Attribute<uint16_t>(algorithm, CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID)}, own, best,
                kind != Kind::kPlain ? "not compared"
                : same               ? "equal"
                                     : "NOT EQUAL",
                rates.c_str());
    std::fflush(stdout);
    return same;
  }

 private:
  struct Call {
    cublasLtMatmulDesc_t desc = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, d = nullptr;
    float beta = 0.f;

    Call(const Products& p, const Shape& s, int64_t rows, bool e4m3, bool fast, bool f32_out, Kind kind) {
      cublasLtMatmulDescCreate(&desc, CUBLAS_COMPUTE_32F, CUDA_R_32F);
      Set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
      if (e4m3) {
        Set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
        Set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
        Set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, p.scales_);
        Set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, p.scales_);
        Set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, static_cast<int8_t>(fast ? 1 : 0));
      }
      if (kind == Kind::kAddBias) {
        Set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
        Set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias_);
        Set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, e4m3 ? CUDA_R_16BF : CUDA_R_32F);
      }
      beta = kind == Kind::kPlain ? 0.f : 1.f;
      const cudaDataType_t type = e4m3 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
      cublasLtMatrixLayoutCreate(&a, type, s.inputs, s.outputs, s.inputs);
      cublasLtMatrixLayoutCreate(&b, type, s.inputs, rows, s.inputs);
      cublasLtMatrixLayoutCreate(&d, f32_out ? CUDA_R_32F : CUDA_R_16BF, s.outputs, rows, s.outputs);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    ~Call() {
      cublasLtMatmulDescDestroy(desc);
      for (cublasLtMatrixLayout_t layout : {a, b, d}) cublasLtMatrixLayoutDestroy(layout);
    }
    template <typename T>
    void Set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
      cublasLtMatmulDescSetAttribute(desc, attribute, &value, sizeof value);
    }
  };

  template <typename T>
  static T Attribute(const cublasLtMatmulAlgo_t& algorithm, cublasLtMatmulAlgoConfigAttributes_t attribute) {
    T value = 0;
    size_t written = 0;
    cublasLtMatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, sizeof value, &written);
    return value;
  }

  bool Run(const Call& call, const cublasLtMatmulAlgo_t& algorithm) {
    const float alpha = 1.f;
    return cublasLtMatmul(handle_, call.desc, &alpha, w_, call.a, x_, call.b, &call.beta, y_, call.d, y_, call.d,
                          &algorithm, workspace_, kWorkspaceBytes, stream_) == CUBLAS_STATUS_SUCCESS;
  }

  // TFLOP/s; 0 where it does not run.
  double Rate(const Call& call, const cublasLtMatmulAlgo_t& algorithm, const Shape& s) {
    for (int i = 0; i < kWarmRuns; ++i) {
      if (!Run(call, algorithm)) return 0;
    }
    cudaEventRecord(begin_, stream_);
    for (int i = 0; i < kTimedRuns; ++i) Run(call, algorithm);
    cudaEventRecord(end_, stream_);
    cudaEventSynchronize(end_);
    float milliseconds = 0;
    if (cudaEventElapsedTime(&milliseconds, begin_, end_) != cudaSuccess) return 0;
    return 2.0 * kRows * static_cast<double>(s.inputs * s.outputs) * kTimedRuns / (milliseconds * 1e9);
  }

  // Whether the first rows have the same bytes in fewer rows.
  bool SameRows(const Shape& s, const cublasLtMatmulAlgo_t& algorithm, bool e4m3, bool fast, bool f32_out) {
    const size_t row_bytes = s.outputs * (f32_out ? 4 : 2);
    constexpr int64_t kCompared = 1560;
    const auto first_rows = [&](int64_t rows) {
      const Call call(*this, s, rows, e4m3, fast, f32_out, Kind::kPlain);
      std::vector<std::byte> bytes(std::min(rows, kCompared) * row_bytes);
      cudaMemsetAsync(y_, 0xff, bytes.size(), stream_);
      if (!Run(call, algorithm)) return std::vector<std::byte>();
      cudaMemcpyAsync(bytes.data(), y_, bytes.size(), cudaMemcpyDeviceToHost, stream_);
      cudaStreamSynchronize(stream_);
      return bytes;
    };
    const std::vector<std::byte> all = first_rows(kRows);
    for (const int64_t rows : {int64_t{1}, int64_t{7}, int64_t{300}, kCompared}) {
      const std::vector<std::byte> some = first_rows(rows);
      if (some.empty() || all.empty() || std::memcmp(some.data(), all.data(), some.size()) != 0) return false;
    }
    return true;
  }

  cudaStream_t stream_;
  cublasLtHandle_t handle_ = nullptr;
  void *workspace_ = nullptr, *x_ = nullptr, *w_ = nullptr, *y_ = nullptr, *scales_ = nullptr, *bias_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

}  // namespace

bool ProbeProducts(cudaStream_t stream, int capability) {
  std::printf("products: cuBLASLt %zu\n", cublasLtGetVersion());
  Products products(stream);
  bool good = true;
  for (const Shape& s : kShapes) {
    for (const bool f32_out : {false, true}) good &= products.Probe(s, false, false, f32_out, Kind::kPlain);
    if (capability != 90) continue;
    for (const bool fast : {false, true}) good &= products.Probe(s, true, fast, false, Kind::kPlain);
  }
  // What adding to what is there costs, with a bias and without (a layer's cross-attention).
  for (const Kind kind : {Kind::kAdd, Kind::kAddBias}) good &= products.Probe(kShapes[1], false, false, true, kind);
  return good;
}

}  // namespace longtake::probe
