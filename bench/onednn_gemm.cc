#include "bench/onednn_gemm.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "dnnl.hpp"

namespace longtake {
namespace {

using dnnl::memory;
using Clock = std::chrono::steady_clock;

struct Product {
  dnnl::matmul primitive;
  memory source, weights, destination;
  int64_t count = 1;
  double best = std::numeric_limits<double>::infinity();
};

// Numbers around 1 in either type, so that no product is slowed down by zeros, denormals or overflow.
void Fill(memory& m) {
  const size_t bytes = m.get_desc().get_size();
  auto* data = static_cast<uint16_t*>(m.get_data_handle());
  for (size_t i = 0; i < bytes / 2; ++i) data[i] = static_cast<uint16_t>(0x3F00 | (i * 37 % 128));
}

}  // namespace

struct OnednnGemm::Impl {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::vector<Product> products;
};

OnednnGemm::OnednnGemm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
OnednnGemm::~OnednnGemm() = default;

absl::StatusOr<std::unique_ptr<OnednnGemm>> OnednnGemm::Make(const std::vector<DenseShape>& shapes,
                                                             const std::string& dtype) {
  const auto type = dtype == "bfloat16" ? memory::data_type::bf16 : memory::data_type::f32;
  auto impl = std::make_unique<Impl>();
  try {
    size_t source_bytes = 0, destination_bytes = 0;
    std::vector<dnnl::matmul::primitive_desc> descriptions;
    for (const DenseShape& s : shapes) {
      const memory::desc source({s.rows, s.inputs}, type, memory::format_tag::ab);
      const memory::desc weights({s.inputs, s.outputs}, type, memory::format_tag::any);
      const memory::desc destination({s.rows, s.outputs}, type, memory::format_tag::ab);
      descriptions.emplace_back(dnnl::matmul::desc(source, weights, destination), impl->engine);
      source_bytes = std::max(source_bytes, source.get_size());
      destination_bytes = std::max(destination_bytes, destination.get_size());
    }
    const auto bytes_of = [&](size_t bytes) {
      memory m({{static_cast<int64_t>(bytes)}, memory::data_type::u8, memory::format_tag::a}, impl->engine);
      Fill(m);
      return m;
    };
    const memory source = bytes_of(source_bytes), destination = bytes_of(destination_bytes);
    for (size_t i = 0; i < shapes.size(); ++i) {
      Product product;
      product.primitive = dnnl::matmul(descriptions[i]);
      product.source = memory(descriptions[i].src_desc(), impl->engine, source.get_data_handle());
      product.destination = memory(descriptions[i].dst_desc(), impl->engine, destination.get_data_handle());
      product.weights = memory(descriptions[i].weights_desc(), impl->engine);
      Fill(product.weights);
      product.count = shapes[i].count;
      impl->products.push_back(std::move(product));
    }
    // The products hold raw pointers; these two own the memory and live as long.
    impl->products.push_back(
        {.primitive = {}, .source = source, .weights = {}, .destination = destination, .count = 0});
  } catch (const dnnl::error& error) {
    return absl::InternalError(absl::StrCat("oneDNN: ", error.what()));
  }
  return std::unique_ptr<OnednnGemm>(new OnednnGemm(std::move(impl)));
}

absl::StatusOr<double> OnednnGemm::Round() {
  double total = 0;
  try {
    for (Product& p : impl_->products) {
      if (p.count == 0) continue;
      const auto begin = Clock::now();
      p.primitive.execute(impl_->stream,
                          {{DNNL_ARG_SRC, p.source}, {DNNL_ARG_WEIGHTS, p.weights}, {DNNL_ARG_DST, p.destination}});
      impl_->stream.wait();
      p.best = std::min(p.best, std::chrono::duration<double>(Clock::now() - begin).count());
      total += p.best * static_cast<double>(p.count);
    }
  } catch (const dnnl::error& error) {
    return absl::InternalError(absl::StrCat("oneDNN: ", error.what()));
  }
  return total;
}

}  // namespace longtake
