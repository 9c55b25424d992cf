// Dense layers and embeddings.
#include "tests/engine/ops_shapes.h"

namespace longtake {
namespace {

GroupResults RunLinear(Ops& ops, const Groups& groups, const LinearShape& c) {
  Bench bench(ops);
  const auto rows = [&](int g) { return c.rows[g]; };
  const Mat x =
      bench.Act(Concatenate(groups, [&](int g) { return Draw(c.values, rows(g) * c.inputs, 1, g); }), c.inputs);
  const DType type = c.residual || c.f32_out ? DType::kF32 : ops.activation_type();
  const Mat y = bench.Upload(Concatenate(groups, [&](int g) { return Draw(c.values, rows(g) * c.outputs, 2, g); }),
                             c.outputs, type);
  const auto kernel = bench.Kernel({.outputs = c.outputs, .inputs = c.inputs}, 3, c.bias, c.values);
  // Modulation rows alternate inside a group, and depend on the group alone.
  std::vector<int32_t> mod;
  for (int g : groups) {
    for (int64_t r = 0; r < rows(g); ++r) mod.push_back(static_cast<int32_t>((r + g) % 3));
  }
  Epilogue e;
  e.activation = c.activation;
  e.residual = c.residual;
  if (c.gate) {
    e.gate = bench.Floats(Draw(c.values, 3 * (c.outputs + 5), 4));
    e.gate_stride = c.outputs + 5;
    e.mod_row = mod;
  }
  ops.dense().Linear({.kernel = *kernel, .x = x, .epilogue = e, .y = y});
  return Cut(groups, bench.Read(y), [&](int g) { return rows(g) * c.outputs; });
}

// Three weights of unequal heights as one kernel, float16, and the input a view of some columns.
GroupResults RunStacked(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  constexpr int64_t kIn = 48, kOut = 90, kColumns = 80;
  const Mat all = bench.Act(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * kColumns, 1, g); }), kColumns);
  std::vector<uint16_t> half;  // 2^-4 * (1 + i/1024): exact in float16; as bf16 each rounds
  for (int64_t i = 0; i < kOut * kIn; ++i)
    half.push_back(static_cast<uint16_t>(0x2c00 + i * 8 % 1024 + (i % 3 == 0) * 0x8000));
  const HostTensor weights[] = {{half.data(), DType::kF16, {50, kIn}},
                                {half.data() + 50 * kIn, DType::kF16, {33, kIn}},
                                {half.data() + 83 * kIn, DType::kF16, {7, kIn}}};
  const auto kernel = ops.weights().Pack({.outputs = kOut, .inputs = kIn}, weights, {});
  const Mat y = bench.EmptyAct(all.rows, kOut);
  ops.dense().Linear({.kernel = *kernel, .x = all.Cols(16, kIn), .y = y});
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * kOut; });
}

GroupResults RunGated(Ops& ops, const Groups& groups, int64_t outputs) {
  Bench bench(ops);
  constexpr int64_t kInputs = 67;
  const auto gate = Random(outputs * kInputs, 1, 0, 0.12f), up = Random(outputs * kInputs, 2, 0, 0.12f);
  const auto kernel =
      ops.weights().PackGated({.outputs = outputs, .inputs = kInputs}, {gate.data(), DType::kF32, {outputs, kInputs}},
                              {up.data(), DType::kF32, {outputs, kInputs}});
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * kInputs, 3, g); }), kInputs);
  const Mat y = bench.EmptyAct(x.rows, outputs);
  ops.dense().LinearGated({.kernel = *kernel, .x = x, .activation = Activation::kGeluTanh, .y = y});
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * outputs; });
}

GroupResults RunEmbed(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  constexpr int64_t kVocabulary = 99, kWidth = 40;
  const auto table = Random(kVocabulary * kWidth, 1);
  const auto packed = ops.weights().PackEmbedding({table.data(), DType::kF32, {kVocabulary, kWidth}});
  std::vector<int32_t> ids;
  for (int g : groups) {
    for (int64_t r = 0; r < RowsOf(g); ++r) ids.push_back(static_cast<int32_t>((r * 31 + g) % kVocabulary));
  }
  const Mat y = bench.Empty(static_cast<int64_t>(ids.size()), kWidth, DType::kF32);
  ops.dense().Embed({.table = packed, .ids = ids, .scale = 1.5f, .y = y});
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * kWidth; });
}

}  // namespace

OpsCase MakeCase(const LinearShape& shape) {
  return {shape.name, 3, [shape](Ops& ops, const Groups& groups) { return RunLinear(ops, groups, shape); }};
}

std::vector<OpsCase> DenseCases() {
  std::vector<OpsCase> cases;
  const LinearShape linears[] = {
      {.name = "linear", .inputs = 96, .outputs = 128},
      {.name = "linear_odd", .inputs = 67, .outputs = 35},
      {.name = "linear_one_output", .inputs = 5, .outputs = 1},
      {.name = "linear_48_wide_panels", .inputs = 64, .outputs = 96, .activation = Activation::kSilu},
      {.name = "linear_tail_panels", .inputs = 64, .outputs = 64 + 48, .activation = Activation::kGeluTanh},
      {.name = "linear_no_bias_f32", .inputs = 130, .outputs = 80, .f32_out = true, .bias = false},
      {.name = "linear_residual", .inputs = 64, .outputs = 100, .residual = true},
      {.name = "linear_gated_residual",
       .inputs = 64,
       .outputs = 70,
       .activation = Activation::kSilu,
       .residual = true,
       .gate = true},
      // 12 000 inputs are cut into parts that fit the second-level cache. Tasks are panels where the rows are fewer
      // than the outputs (groups 0 and 1 alone), blocks of rows in larger batches.
      {.name = "linear_deep",
       .inputs = 12000,
       .outputs = 72,
       .activation = Activation::kSilu,
       .residual = true,
       .gate = true},
  };
  for (const LinearShape& shape : linears) cases.push_back(MakeCase(shape));
  cases.push_back({"linear_stacked_f16", 3, RunStacked});

  for (int64_t outputs : {64, 75}) {
    cases.push_back({"linear_gated_" + std::to_string(outputs), 3,
                     [outputs](Ops& ops, const Groups& groups) { return RunGated(ops, groups, outputs); }});
  }
  cases.push_back({"embed", 3, RunEmbed});
  return cases;
}

}  // namespace longtake
