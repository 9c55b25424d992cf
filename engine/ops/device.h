// Memory and order of one stream of a backend's device.
//
// What is asked of a stream runs as if in the order in which it was asked for. A device may have more than one stream
// (Ops::MakeStream); their work runs at the same time and is ordered by events alone.
#ifndef LONGTAKE_ENGINE_OPS_DEVICE_H_
#define LONGTAKE_ENGINE_OPS_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "engine/core/tensor.h"

namespace longtake {

// Owner of a piece of memory, of a device or of the host.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual size_t size() const = 0;
  float* f32() { return static_cast<float*>(data()); }
};

// Pageable memory of the host, not zeroed.
class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(size_t bytes) : bytes_(bytes), data_(new std::byte[bytes]) {}
  void* data() override { return data_.get(); }
  size_t size() const override { return bytes_; }

 private:
  size_t bytes_;
  std::unique_ptr<std::byte[]> data_;
};

// A point in a stream, behind everything asked of it before; 0 is the stream's beginning.
using Event = uint64_t;

struct CopyPart {
  const void* from = nullptr;
  void* to = nullptr;
  size_t bytes = 0;
};

class Device {
 public:
  virtual ~Device() = default;

  // "reference", "cpu/avx512_bf16", "cuda/sm_90/...": part of the numerics id.
  virtual std::string name() const = 0;
  // Bytes of the device's own memory; 0: it works in the host's.
  virtual uint64_t memory_bytes() const { return 0; }

  // Device memory, aligned to 64 bytes, zeroed. Throws std::bad_alloc.
  virtual std::unique_ptr<Buffer> Allocate(size_t bytes) = 0;
  // Host memory that uploads and downloads are fastest with, not zeroed. Throws std::bad_alloc.
  virtual std::unique_ptr<Buffer> AllocateHost(size_t bytes) { return std::make_unique<HostBuffer>(bytes); }

  virtual void Upload(const void* host, void* device, size_t bytes) = 0;
  // Blocks until the bytes have arrived.
  virtual void Download(const void* device, void* host, size_t bytes) = 0;
  // Into memory of AllocateHost; the bytes have arrived when an event recorded later has been reached.
  virtual void DownloadAsync(const void* device, void* host, size_t bytes) { Download(device, host, bytes); }
  // Within device memory.
  virtual void Copy(const void* from, void* to, size_t bytes) = 0;
  // The same for parts that do not overlap. What differs between passes that are alike goes here (RunPass).
  virtual void CopyEach(std::span<const CopyPart> parts) {
    for (const CopyPart& p : parts) Copy(p.from, p.to, p.bytes);
  }

  // Blocks until everything asked of the stream has finished and returns its first error. Asynchronous backends report
  // errors only here and in Synchronize(Event); after one, later operations are no-ops. Synchronous backends always
  // return OK.
  virtual absl::Status Synchronize() { return absl::OkStatus(); }
  virtual Event Record() { return 0; }
  // Blocks until the event is reached and returns the stream's first error. From any thread.
  virtual absl::Status Synchronize(Event) { return absl::OkStatus(); }
  // What is asked of this stream from now on runs after `event` of `other`, a stream of the same device.
  virtual void WaitFor(Device& /*other*/, Event /*event*/) {}

  // Runs one transformer pass: `calls` asks for its operations and for no host memory. A backend may launch a pass that
  // is like an earlier one as a whole (a CUDA graph). Between passes that are alike only the contents of memory and of
  // spans differ, so pointers and sizes of sessions are passed in spans. Spans of modulation rows must live until this
  // returns.
  virtual void RunPass(const std::function<void()>& calls) { calls(); }
  // The number of rows to give a pass that needs `rows`, so that more passes are alike. It never falls as `rows` grows.
  // Rows beyond the last segment are padding; their content is undefined.
  virtual int64_t PaddedRows(int64_t rows) const { return rows; }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_DEVICE_H_
