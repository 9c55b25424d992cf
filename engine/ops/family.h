// What all operation families share.
//
// A family is a class with one public function for each operation, which checks the arguments against the contract,
// opens a profiler zone, and calls the backend's private virtual function of the same name with `Do` before it. So
// every backend makes the same checks. A family of a backend is one file: engine/reference/dense.cc,
// engine/cpu/dense.cc, engine/cuda/dense.cc.
//
// Results of a row (a token, a pixel) never depend on which other rows stand beside it, on how many there are, or on
// the thread count: no operation splits a sum by any of these. That makes a session's bytes independent of its batch.
//
// Conventions: `N` tokens are packed along rows; `D` is the model's width; there are `h` heads of width `d`; "act" is
// the backend's activation type. Views and pointers to float are in backend memory, spans in host memory. Unless said,
// an operation may not write where it reads. While scratch is planned (scratch.h) operations are called with addresses
// that mean nothing: a check looks at types and shapes, never at what an address holds.
#ifndef LONGTAKE_ENGINE_OPS_FAMILY_H_
#define LONGTAKE_ENGINE_OPS_FAMILY_H_

#include "engine/core/tensor.h"
#include "engine/ops/profiler.h"

namespace longtake {

// Of one backend stream; outlives its families. Backends derive from it what their families share.
struct FamilyContext {
  virtual ~FamilyContext() = default;

  DType activation_type = DType::kF32;  // f32 or bf16
  Profiler profiler;
};

class OperationFamily {
 public:
  explicit OperationFamily(FamilyContext* context) : context_(*context) {}
  OperationFamily(const OperationFamily&) = delete;
  OperationFamily& operator=(const OperationFamily&) = delete;

 protected:
  ~OperationFamily() = default;
  DType activation_type() const { return context_.activation_type; }
  Profiler& profiler() const { return context_.profiler; }
  bool IsAct(DType type) const { return type == context_.activation_type; }
  bool IsActOrFloat(DType type) const { return IsAct(type) || type == DType::kF32; }

 private:
  FamilyContext& context_;
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_FAMILY_H_
