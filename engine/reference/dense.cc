#include <cstddef>
#include <cstdint>
#include <memory>

#include "engine/reference/families.h"
#include "engine/reference/kernel.h"
#include "engine/reference/low_rank.h"

namespace longtake::reference {
namespace {

class Dense final : public DenseOps {
 public:
  using DenseOps::DenseOps;
  bool adds_low_rank() const override { return true; }

 private:
  void DoLinear(const LinearArgs& a) override {
    const Kernel& kernel = AsKernel(a.kernel);
    for (int64_t n = 0; n < a.x.rows; ++n) {
      const float* in = Row(a.x, n);
      const RowTerms terms(a.low_rank, n, [&](int) { return in; });
      for (int64_t o = 0; o < a.y.cols; ++o) {
        const float* weight = kernel.row(o);
        double acc = kernel.bias(o) + terms.at(o);
        for (int64_t i = 0; i < a.x.cols; ++i) acc += double{weight[i]} * in[i];
        Store(a.epilogue, acc, n, o, a.y);
      }
    }
  }

  void DoLinearGated(const LinearGatedArgs& a) override {
    const Kernel& kernel = AsKernel(a.kernel);
    const int64_t outputs = a.y.cols;
    for (int64_t n = 0; n < a.x.rows; ++n) {
      const float* in = Row(a.x, n);
      for (int64_t o = 0; o < outputs; ++o) {
        double gate = 0, up = 0;
        const float *gate_weight = kernel.row(o), *up_weight = kernel.row(outputs + o);
        for (int64_t i = 0; i < a.x.cols; ++i) {
          gate += double{gate_weight[i]} * in[i];
          up += double{up_weight[i]} * in[i];
        }
        Row(a.y, n)[o] = static_cast<float>(Activated<double>(a.activation, gate) * up);
      }
    }
  }

  void DoEmbed(const EmbedArgs& a) override {
    const float* table = a.table.data->f32();
    for (size_t n = 0; n < a.ids.size(); ++n) {
      for (int64_t i = 0; i < a.y.cols; ++i) Row(a.y, n)[i] = table[a.ids[n] * a.table.width + i] * a.scale;
    }
  }
};

}  // namespace

std::unique_ptr<DenseOps> MakeDenseOps(FamilyContext* context) { return std::make_unique<Dense>(context); }

}  // namespace longtake::reference
