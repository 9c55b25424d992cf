#include "bench/onednn_matmul.h"

#include <oneapi/dnnl/dnnl.hpp>
#include <random>
#include <vector>

namespace longtake {

struct OneDnnMatmul::State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  dnnl::matmul primitive;
  dnnl::memory source, weights, result;
};

namespace {

// Small whole numbers are exact in both types, so filling is a reorder.
void Fill(dnnl::memory& to, const dnnl::memory::dims& dims, dnnl::engine& engine, dnnl::stream& stream) {
  dnnl::memory from({dims, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab}, engine);
  auto* values = static_cast<float*>(from.get_data_handle());
  std::minstd_rand random(1);
  for (int64_t i = 0; i < dims[0] * dims[1]; ++i) values[i] = static_cast<float>(random() % 7) - 3.f;
  dnnl::reorder(from, to).execute(stream, from, to);
  stream.wait();
}

}  // namespace

OneDnnMatmul::OneDnnMatmul(int64_t rows, int64_t inputs, int64_t outputs, DType type)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  using Tag = dnnl::memory::format_tag;
  const auto t = type == DType::kBF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f32;
  const dnnl::memory::desc source({rows, inputs}, t, Tag::ab), any({inputs, outputs}, t, Tag::any),
      result({rows, outputs}, t, Tag::ab);
  const dnnl::matmul::primitive_desc choice(dnnl::matmul::desc(source, any, result), s.engine);
  s.primitive = dnnl::matmul(choice);
  s.source = dnnl::memory(choice.src_desc(), s.engine);
  s.weights = dnnl::memory(choice.weights_desc(), s.engine);
  s.result = dnnl::memory(choice.dst_desc(), s.engine);
  Fill(s.source, {rows, inputs}, s.engine, s.stream);
  Fill(s.weights, {inputs, outputs}, s.engine, s.stream);
}

OneDnnMatmul::~OneDnnMatmul() = default;

void OneDnnMatmul::Run() {
  State& s = *state_;
  s.primitive.execute(s.stream, {{DNNL_ARG_SRC, s.source}, {DNNL_ARG_WEIGHTS, s.weights}, {DNNL_ARG_DST, s.result}});
  s.stream.wait();
}

}  // namespace longtake
