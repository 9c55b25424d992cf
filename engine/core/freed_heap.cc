#include "engine/core/freed_heap.h"

#include <malloc.h>

namespace longtake {

void ReleaseFreedHeap() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace longtake
