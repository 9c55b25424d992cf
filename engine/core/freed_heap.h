// Returns freed memory from the C library to the system.
#ifndef LONGTAKE_ENGINE_CORE_FREED_HEAP_H_
#define LONGTAKE_ENGINE_CORE_FREED_HEAP_H_

namespace longtake {

// Returns the heap's freed pages to the system. glibc keeps them for later allocations. After a model's weights have
// been converted and packed they amount to the largest tensors, and no pass needs them again. Does nothing with other C
// libraries. Takes some milliseconds for each gigabyte of heap.
void ReleaseFreedHeap();

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_CORE_FREED_HEAP_H_
