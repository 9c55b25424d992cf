// Host memory. Operations run synchronously and allocate their scratch on the heap.
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>

#include "engine/reference/families.h"

namespace longtake::reference {
namespace {

class AlignedBuffer final : public Buffer {
 public:
  // Allocates one byte more, so that an empty buffer has an address.
  explicit AlignedBuffer(size_t bytes)
      : size_(bytes), data_(static_cast<std::byte*>(operator new (bytes + 1, std::align_val_t{64}))) {
    std::memset(data_, 0, bytes);
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() override { operator delete (data_, std::align_val_t{64}); }
  void* data() override { return data_; }
  size_t size() const override { return size_; }

 private:
  size_t size_;
  std::byte* data_;
};

class ReferenceDevice final : public Device {
 public:
  std::string name() const override { return "reference"; }
  std::unique_ptr<Buffer> Allocate(size_t bytes) override { return std::make_unique<AlignedBuffer>(bytes); }
  void Upload(const void* host, void* device, size_t bytes) override { std::memcpy(device, host, bytes); }
  void Download(const void* device, void* host, size_t bytes) override { std::memcpy(host, device, bytes); }
  void Copy(const void* from, void* to, size_t bytes) override { std::memcpy(to, from, bytes); }
};

// There is nothing to plan, because each operation allocates its own scratch.
class NoScratch final : public Scratch {
 public:
  void Plan(const std::function<void()>&) override {}
  absl::Status Reserve() override { return absl::OkStatus(); }
  Use use() const override { return {}; }
};

}  // namespace

std::unique_ptr<Device> MakeDevice() { return std::make_unique<ReferenceDevice>(); }
std::unique_ptr<Scratch> MakeScratch() { return std::make_unique<NoScratch>(); }

}  // namespace longtake::reference
