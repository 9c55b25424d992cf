#include <cstring>

#include "engine/cpu/families.h"
#include "engine/cpu/memory.h"

namespace longtake::cpu {
namespace {

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(Context& context) : context_(context) {}

  std::string name() const override { return context_.name; }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return std::make_unique<CpuBuffer>(bytes); }
  void Upload(const void* host, void* device, size_t bytes) override { std::memcpy(device, host, bytes); }
  void Download(const void* device, void* host, size_t bytes) override { std::memcpy(host, device, bytes); }
  void Copy(const void* from, void* to, size_t bytes) override { std::memcpy(to, from, bytes); }

 private:
  Context& context_;
};

}  // namespace

std::unique_ptr<Device> MakeDevice(Context& context) { return std::make_unique<CpuDevice>(context); }

}  // namespace longtake::cpu
