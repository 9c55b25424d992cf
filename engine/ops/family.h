// The base of all operation families.
//
// A family is a class with one public function for each operation. The function checks the arguments against the
// operation's contract, opens a profiler zone, and calls the backend's private virtual function of the same name with
// the prefix `Do`. All backends therefore make the same checks. Each backend implements a family in one file:
// engine/reference/dense.cc, engine/cpu/dense.cc, engine/cuda/dense.cc.
//
// The result of a row (a token, a pixel) does not depend on the other rows of a call, on their number, or on the number
// of threads: no operation splits a sum by any of these. A session's bytes are therefore independent of its batch.
//
// Conventions: `N` tokens are packed along rows; `D` is the model's width; there are `h` heads of width `d`; "act" is
// the backend's activation type. Views and pointers to float are in backend memory, spans in host memory. Outputs must
// not overlap inputs unless an operation allows it. While scratch is planned (scratch.h), operations are called with
// meaningless addresses, so a check reads types and shapes, never memory.
#ifndef LONGTAKE_ENGINE_OPS_FAMILY_H_
#define LONGTAKE_ENGINE_OPS_FAMILY_H_

#include "engine/core/tensor.h"
#include "engine/ops/profiler.h"

namespace longtake {

// Shared by the families of one backend stream, and outlives them. Backends derive from it.
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
