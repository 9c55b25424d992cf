// Internal to reference/: linear attention of one pass's tokens, with its state.
#ifndef LONGTAKE_ENGINE_REFERENCE_LINEAR_ATTENTION_H_
#define LONGTAKE_ENGINE_REFERENCE_LINEAR_ATTENTION_H_

#include "engine/ops/attention.h"

namespace longtake::reference {

void LinearAttentionOfSegment(const LinearAttentionArgs& a, const LinearAttentionSegment& s);

}  // namespace longtake::reference

#endif  // LONGTAKE_ENGINE_REFERENCE_LINEAR_ATTENTION_H_
