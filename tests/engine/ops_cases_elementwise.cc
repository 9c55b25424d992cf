// Operations on single elements.
#include "tests/engine/ops_cases.h"

namespace longtake {

std::vector<OpsCase> ElementwiseCases() {
  std::vector<OpsCase> cases;
  for (int64_t columns : {192, 203}) {
    cases.push_back(RowsCase("silu", columns, true, false, [](Ops& ops, Bench&, Mat x, Mat y, auto) {
      ops.elementwise().Activate(x, Activation::kSilu, y);
    }));
    cases.push_back(RowsCase("gelu", columns, false, true, [](Ops& ops, Bench&, Mat x, Mat y, auto) {
      ops.elementwise().Activate(x, Activation::kGeluTanh, y);
    }));
    cases.push_back(RowsCase("sigmoid", columns, true, true, [](Ops& ops, Bench&, Mat x, Mat y, auto) {
      ops.elementwise().Activate(x, Activation::kSigmoid, y);
    }));
    cases.push_back(RowsCase("relu", columns, true, false, [](Ops& ops, Bench&, Mat x, Mat y, auto) {
      ops.elementwise().Activate(x, Activation::kRelu, y);
    }));
    cases.push_back(RowsCase("soft_clamp", columns, false, true, [](Ops& ops, Bench&, Mat x, Mat y, auto) {
      ops.elementwise().Activate(x, Activation::kSoftClamp, y);
    }));
    cases.push_back(RowsCase("convert", columns, false, true,
                             [](Ops& ops, Bench&, Mat x, Mat y, auto) { ops.elementwise().Convert(x, y); }));
    cases.push_back(RowsCase("convert_to_act", columns, true, false,
                             [](Ops& ops, Bench&, Mat x, Mat y, auto) { ops.elementwise().Convert(x, y); }));
    cases.push_back(RowsCase("add_row", columns, true, true, [](Ops& ops, Bench& b, Mat x, Mat y, auto) {
      ops.elementwise().AddRow(x, b.Floats(Random(x.cols, 5)), y);
    }));
  }
  return cases;
}

}  // namespace longtake
