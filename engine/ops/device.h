// One stream of a backend's device: memory, copies and ordering.
//
// The operations of a stream run in the order of the calls. A device may have more than one stream (Ops::MakeStream).
// Streams run concurrently; only events order them.
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

// Owns a piece of device or host memory.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual size_t size() const = 0;
  float* f32() { return static_cast<float*>(data()); }
};

// Pageable host memory, not zeroed.
class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(size_t bytes) : bytes_(bytes), data_(new std::byte[bytes]) {}
  void* data() override { return data_.get(); }
  size_t size() const override { return bytes_; }

 private:
  size_t bytes_;
  std::unique_ptr<std::byte[]> data_;
};

// A point in a stream, after all operations that were called before Record. 0 is the start of the stream: it is always
// complete.
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
  // Bytes of the device's own memory; 0: the device works in host memory.
  virtual uint64_t memory_bytes() const { return 0; }

  // Device memory, aligned to 64 bytes, zeroed. Throws std::bad_alloc.
  virtual std::unique_ptr<Buffer> Allocate(size_t bytes) = 0;
  // Host memory for which uploads and downloads are fastest, not zeroed. Throws std::bad_alloc.
  virtual std::unique_ptr<Buffer> AllocateHost(size_t bytes) { return std::make_unique<HostBuffer>(bytes); }

  virtual void Upload(const void* host, void* device, size_t bytes) = 0;
  // Blocks until the bytes have arrived.
  virtual void Download(const void* device, void* host, size_t bytes) = 0;
  // Copies to memory of AllocateHost. The bytes have arrived when an event recorded later has completed.
  virtual void DownloadAsync(const void* device, void* host, size_t bytes) { Download(device, host, bytes); }
  // Copies within device memory.
  virtual void Copy(const void* from, void* to, size_t bytes) = 0;
  // Copies several parts, which must not overlap. Copies that differ between otherwise equal passes are made here
  // (RunPass).
  virtual void CopyEach(std::span<const CopyPart> parts) {
    for (const CopyPart& p : parts) Copy(p.from, p.to, p.bytes);
  }

  // Blocks until all operations of the stream have finished and returns its first error. Asynchronous backends report
  // errors only here and in Synchronize(Event); after one, later operations are no-ops. Synchronous backends always
  // return OK.
  virtual absl::Status Synchronize() { return absl::OkStatus(); }
  virtual Event Record() { return 0; }
  // Blocks until the event has completed and returns the stream's first error. May be called on any thread.
  virtual absl::Status Synchronize(Event) { return absl::OkStatus(); }
  // Operations called on this stream from now on wait for `event` of `other`, a stream of the same device.
  virtual void WaitFor(Device& /*other*/, Event /*event*/) {}

  // Runs one transformer pass: `calls` calls operations and copies within device memory, but uploads and downloads
  // nothing. A backend may launch a pass that equals an earlier one as a whole, as a CUDA graph. Passes are equal if
  // they differ only in the contents of memory and of spans; pointers and sizes of sessions are therefore passed in
  // spans. Spans of modulation rows must live until RunPass returns.
  virtual void RunPass(const std::function<void()>& calls) { calls(); }
  // Returns the number of rows to pad a pass of `rows` rows to, so that more passes are equal. It does not decrease as
  // `rows` grows. Rows beyond the last segment are padding; their content is undefined.
  virtual int64_t PaddedRows(int64_t rows) const { return rows; }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_DEVICE_H_
