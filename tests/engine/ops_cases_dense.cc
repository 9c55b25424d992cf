// Dense layers, norms and operations on elements. Row counts cross the register tiles (6, 8, 12 rows) and blocks (192).
#include "tests/engine/ops_cases.h"

namespace longtake {
namespace {

constexpr int64_t kRows[] = {37, 1, 211};
int64_t RowsOf(int group) { return kRows[group]; }

struct LinearCase {
  const char* name;
  int64_t inputs, outputs;
  Activation activation = Activation::kNone;
  bool f32_out = false, residual = false, gate = false, bias = true;
  int kernels = 1;  // stacked
};

GroupResults RunLinear(Ops& ops, const Groups& groups, const LinearCase& c) {
  Bench bench(ops);
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * c.inputs, 1, g); }), c.inputs);
  const DType type = c.residual || c.f32_out ? DType::kF32 : ops.activation_type();
  const Mat y =
      bench.Upload(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * c.outputs, 2, g); }), c.outputs, type);
  const auto kernel = bench.Kernel({.outputs = c.outputs, .inputs = c.inputs}, 3, c.bias);
  // Modulation rows alternate inside a group, and depend on the group alone.
  std::vector<int32_t> mod;
  for (int g : groups) {
    for (int64_t r = 0; r < RowsOf(g); ++r) mod.push_back(static_cast<int32_t>((r + g) % 3));
  }
  Epilogue e;
  e.activation = c.activation;
  e.residual = c.residual;
  if (c.gate) {
    e.gate = bench.Floats(Random(3 * (c.outputs + 5), 4));
    e.gate_stride = c.outputs + 5;
    e.mod_row = mod;
  }
  ops.Linear(*kernel, x, e, y);
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * c.outputs; });
}

// Three weights of unequal heights as one kernel, float16, and the input a view of some columns.
GroupResults RunStacked(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  constexpr int64_t kIn = 48, kOut = 90, kWide = 80;
  const Mat wide = bench.Act(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * kWide, 1, g); }), kWide);
  std::vector<uint16_t> half;  // 2^-4 * (1 + i/1024): exact in float16; as bf16 each rounds
  for (int64_t i = 0; i < kOut * kIn; ++i)
    half.push_back(static_cast<uint16_t>(0x2c00 + i * 8 % 1024 + (i % 3 == 0) * 0x8000));
  const HostTensor weights[] = {{half.data(), DType::kF16, {50, kIn}},
                                {half.data() + 50 * kIn, DType::kF16, {33, kIn}},
                                {half.data() + 83 * kIn, DType::kF16, {7, kIn}}};
  const auto kernel = ops.Pack({.outputs = kOut, .inputs = kIn}, weights, {});
  const Mat y = bench.EmptyAct(wide.rows, kOut);
  ops.Linear(*kernel, wide.Cols(16, kIn), {}, y);
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * kOut; });
}

GroupResults RunNorm(Ops& ops, const Groups& groups, int64_t columns,
                     const std::function<void(Bench&, Mat x, Mat y, std::span<const int32_t> mod)>& f, bool f32_in,
                     bool f32_out) {
  Bench bench(ops);
  const auto values = Concatenate(groups, [&](int g) { return Random(RowsOf(g) * columns, 1, g, 1.f, 0.5f); });
  const Mat x = bench.Upload(values, columns, f32_in ? DType::kF32 : ops.activation_type());
  const auto old = Concatenate(groups, [&](int g) { return Random(RowsOf(g) * columns, 2, g); });
  const Mat y = bench.Upload(old, columns, f32_out ? DType::kF32 : ops.activation_type());
  std::vector<int32_t> mod;
  for (int g : groups) {
    for (int64_t r = 0; r < RowsOf(g); ++r) mod.push_back(static_cast<int32_t>((r + g) % 2));
  }
  f(bench, x, y, mod);
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * columns; });
}

GroupResults RunGated(Ops& ops, const Groups& groups, int64_t outputs) {
  Bench bench(ops);
  constexpr int64_t kInputs = 67;
  const auto gate = Random(outputs * kInputs, 1, 0, 0.12f), up = Random(outputs * kInputs, 2, 0, 0.12f);
  const auto kernel =
      ops.PackGated({.outputs = outputs, .inputs = kInputs}, {gate.data(), DType::kF32, {outputs, kInputs}},
                    {up.data(), DType::kF32, {outputs, kInputs}});
  const Mat x = bench.Act(Concatenate(groups, [&](int g) { return Random(RowsOf(g) * kInputs, 3, g); }), kInputs);
  const Mat y = bench.EmptyAct(x.rows, outputs);
  ops.LinearGated(*kernel, x, Activation::kGeluTanh, y);
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * outputs; });
}

GroupResults RunEmbed(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  constexpr int64_t kVocabulary = 99, kWidth = 40;
  const auto table = Random(kVocabulary * kWidth, 1);
  const auto packed = ops.PackEmbedding({table.data(), DType::kF32, {kVocabulary, kWidth}});
  std::vector<int32_t> ids;
  for (int g : groups) {
    for (int64_t r = 0; r < RowsOf(g); ++r) ids.push_back(static_cast<int32_t>((r * 31 + g) % kVocabulary));
  }
  const Mat y = bench.Empty(static_cast<int64_t>(ids.size()), kWidth, DType::kF32);
  ops.Embed(*packed, ids, 1.5f, y);
  return Cut(groups, bench.Read(y), [&](int g) { return RowsOf(g) * kWidth; });
}

GroupResults RunSinusoids(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  std::vector<float> t;
  for (int g : groups) t.push_back(static_cast<float>(g * 499.7));
  const Mat y = bench.EmptyAct(static_cast<int64_t>(t.size()), 256);
  ops.TimestepSinusoids(t, y);
  return Cut(groups, bench.Read(y), [](int) { return 256; });
}

GroupResults RunCombine(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  GroupResults results;
  for (int g : groups) {
    const int64_t n = 50000 + g;
    float* out = bench.Floats(Random(n, 1, g));
    const CombineTerm terms[] = {
        {0.75f, out}, {-1.25f, bench.Floats(Random(n, 2, g))}, {3.f, bench.Floats(Random(n, 3, g))}};
    ops.Combine({terms, static_cast<size_t>(g) + 1}, n, out);
    results[g] = bench.ReadFloats(out, n);
  }
  return results;
}

GroupResults RunNormal(Ops& ops, const Groups& groups) {
  Bench bench(ops);
  GroupResults results;
  for (int g : groups) {
    const int64_t n = 9001 + g;
    float* out = bench.Floats(std::vector<float>(n));
    ops.FillNormal(77 + g, g, 3, n, out);
    results[g] = bench.ReadFloats(out, n);
  }
  return results;
}

}  // namespace

std::vector<OpsCase> DenseCases() {
  std::vector<OpsCase> cases;
  const LinearCase linears[] = {
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
      // 12 000 inputs are cut into parts that fit the second-level cache.
      {.name = "linear_deep", .inputs = 12000, .outputs = 72, .f32_out = true},
  };
  for (const LinearCase& c : linears) {
    cases.push_back({c.name, 3, [c](Ops& ops, const Groups& groups) { return RunLinear(ops, groups, c); }});
  }
  cases.push_back({"linear_stacked_f16", 3, RunStacked});

  auto norm = [&](std::string name, int64_t columns, bool f32_in, bool f32_out,
                  std::function<void(Ops&, Bench&, Mat, Mat, std::span<const int32_t>)> f) {
    cases.push_back({std::move(name), 3, [=](Ops& ops, const Groups& groups) {
                       return RunNorm(
                           ops, groups, columns, [&](Bench& b, Mat x, Mat y, auto mod) { f(ops, b, x, y, mod); },
                           f32_in, f32_out);
                     }});
  };
  for (int64_t columns : {192, 203}) {
    std::string suffix = "_";
    suffix += std::to_string(columns);
    norm("layer_norm" + suffix, columns, true, false, [](Ops& ops, Bench&, Mat x, Mat y, auto mod) {
      ops.LayerNormModulate(x, 1e-6f, nullptr, nullptr, 0, mod, y);
    });
    norm("layer_norm_modulate" + suffix, columns, true, false, [](Ops& ops, Bench& b, Mat x, Mat y, auto mod) {
      const float* table = b.Floats(Random(2 * 3 * x.cols, 5));
      ops.LayerNormModulate(x, 1e-6f, table, table + x.cols, 3 * x.cols, mod, y);
    });
    norm("rms_norm" + suffix, columns, false, false, [](Ops& ops, Bench& b, Mat x, Mat y, auto) {
      ops.RmsNorm(x, b.Floats(Random(x.cols, 5)), 0.f, 1e-5f, false, y);
    });
    norm("rms_norm_residual" + suffix, columns, true, true, [](Ops& ops, Bench& b, Mat x, Mat y, auto) {
      ops.RmsNorm(x, b.Floats(Random(x.cols, 5)), 1.f, 1e-6f, true, y);
    });
    norm("channel_norm" + suffix, columns, false, false,
         [](Ops& ops, Bench& b, Mat x, Mat y, auto) { ops.ChannelNorm(x, b.Floats(Random(x.cols, 5)), false, y); });
    norm("channel_norm_silu" + suffix, columns, false, false,
         [](Ops& ops, Bench& b, Mat x, Mat y, auto) { ops.ChannelNorm(x, b.Floats(Random(x.cols, 5)), true, y); });
    norm("silu" + suffix, columns, true, false,
         [](Ops& ops, Bench&, Mat x, Mat y, auto) { ops.Activate(x, Activation::kSilu, y); });
    norm("gelu" + suffix, columns, false, true,
         [](Ops& ops, Bench&, Mat x, Mat y, auto) { ops.Activate(x, Activation::kGeluTanh, y); });
    norm("convert" + suffix, columns, false, true, [](Ops& ops, Bench&, Mat x, Mat y, auto) { ops.Convert(x, y); });
    norm("add_row" + suffix, columns, true, true,
         [](Ops& ops, Bench& b, Mat x, Mat y, auto) { ops.AddRow(x, b.Floats(Random(x.cols, 5)), y); });
  }
  for (int64_t outputs : {64, 75}) {
    cases.push_back({"linear_gated_" + std::to_string(outputs), 3,
                     [outputs](Ops& ops, const Groups& groups) { return RunGated(ops, groups, outputs); }});
  }
  cases.push_back({"embed", 3, RunEmbed});
  cases.push_back({"timestep_sinusoids", 3, RunSinusoids});
  cases.push_back({"combine", 3, RunCombine});
  cases.push_back({"fill_normal", 3, RunNormal});
  return cases;
}

}  // namespace longtake
