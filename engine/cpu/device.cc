// Host memory. Copies are distributed over the threads, because one thread copies about 10 GB/s and a latent frame of
// the VAE copies 3.4 GB at 480p.
#include <algorithm>
#include <cstdint>
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
  void Upload(const void* host, void* device, size_t bytes) override { Copy(host, device, bytes); }
  void Download(const void* device, void* host, size_t bytes) override { Copy(device, host, bytes); }
  void Copy(const void* from, void* to, size_t bytes) override {
    const CopyPart part = {.from = from, .to = to, .bytes = bytes};
    CopyEach({&part, 1});
  }
  void CopyEach(std::span<const CopyPart> parts) override;

 private:
  // Bytes that one task copies: about 50 us, ten times what waking a thread takes.
  static constexpr size_t kChunk = 512 << 10;
  static int64_t Chunks(const CopyPart& part) { return static_cast<int64_t>((part.bytes + kChunk - 1) / kChunk); }

  Context& context_;
};

// All parts' chunks are copied in one loop. One loop for each part would synchronize the threads once for each session
// of a batch.
void CpuDevice::CopyEach(std::span<const CopyPart> parts) {
  const ProfilerScope scope(context_.profiler, "Copy");
  int64_t chunks = 0;
  size_t bytes = 0;
  for (const CopyPart& part : parts) {
    chunks += Chunks(part);
    bytes += part.bytes;
  }
  if (bytes <= kChunk) {  // too little to be worth waking threads
    return context_.ParallelFor(1, [&](int64_t, int) {
      for (const CopyPart& part : parts) std::memcpy(part.to, part.from, part.bytes);
    });
  }
  context_.ParallelFor(chunks, [&](int64_t chunk, int) {
    const CopyPart* part = parts.data();
    while (chunk >= Chunks(*part)) chunk -= Chunks(*part++);
    const size_t first = chunk * kChunk;
    std::memcpy(static_cast<std::byte*>(part->to) + first, static_cast<const std::byte*>(part->from) + first,
                std::min(kChunk, part->bytes - first));
  });
}

}  // namespace

std::unique_ptr<Device> MakeDevice(Context& context) { return std::make_unique<CpuDevice>(context); }

}  // namespace longtake::cpu
