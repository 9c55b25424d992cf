// Random numbers of the operating system.
#ifndef LONGTAKE_COMMON_RANDOM_BYTES_H_
#define LONGTAKE_COMMON_RANDOM_BYTES_H_

#include <cstddef>
#include <string>

namespace longtake {

// `count` random bytes, at most 256. Nobody can guess them.
std::string RandomBytes(size_t count);

}  // namespace longtake

#endif  // LONGTAKE_COMMON_RANDOM_BYTES_H_
