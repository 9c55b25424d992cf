#include "absl/cleanup/cleanup.h"
#include "common/status_macros.h"
#include "engine/cpu/families.h"

namespace longtake::cpu {
namespace {

// Scratch consists of the workspace and the tables of rotary positions.
class CpuScratch final : public Scratch {
 public:
  explicit CpuScratch(Context& context) : context_(context) {}

  void Plan(const std::function<void()>& calls) override {
    context_.SetPlanning(true);
    const absl::Cleanup end = [this] { context_.SetPlanning(false); };
    calls();
  }

  absl::Status Reserve() override {
    RETURN_IF_ERROR(context_.workspace.Reserve());
    return context_.rotary.Reserve();
  }

  Use use() const override {
    return {.planned = context_.workspace.planned() + context_.rotary.planned(),
            .used = context_.workspace.used() + context_.rotary.used()};
  }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Scratch> MakeScratch(Context& context) { return std::make_unique<CpuScratch>(context); }

}  // namespace longtake::cpu
