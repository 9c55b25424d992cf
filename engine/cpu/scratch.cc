#include "engine/cpu/families.h"

namespace longtake::cpu {
namespace {

// The workspace grows with the operations that are called.
class CpuScratch final : public Scratch {
 public:
  void Plan(const std::function<void()>&) override {}
  absl::Status Reserve() override { return absl::OkStatus(); }
  Use use() const override { return {}; }
};

}  // namespace

std::unique_ptr<Scratch> MakeScratch(Context&) { return std::make_unique<CpuScratch>(); }

}  // namespace longtake::cpu
