// What the C library keeps of memory that this process has freed.
#ifndef LONGTAKE_ENGINE_CORE_FREED_HEAP_H_
#define LONGTAKE_ENGINE_CORE_FREED_HEAP_H_

namespace longtake {

// Hands the freed pages of the heap back to the system. glibc keeps them for later allocations: after the weights of a
// model have been converted and packed these are as many bytes as the largest tensors, which no pass needs again. Does
// nothing with other C libraries. Takes some milliseconds for each gigabyte of heap.
void ReleaseFreedHeap();

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_FREED_HEAP_H_
