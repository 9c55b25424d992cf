// The position of one pass's tokens in a packed batch.
#ifndef LONGTAKE_ENGINE_OPS_SEGMENT_H_
#define LONGTAKE_ENGINE_OPS_SEGMENT_H_

#include <cstdint>

namespace longtake {

// The tokens are rows [first_row, first_row + rows()), ordered by frame, row, column.
struct Segment {
  int64_t first_row = 0;
  int frames = 0, height = 0, width = 0;  // in patches
  int first_frame = 0;                    // absolute latent-frame position of the first frame, for rotary positions
  int64_t rows() const { return int64_t{frames} * height * width; }
};

}  // namespace longtake

#endif  // LONGTAKE_ENGINE_OPS_SEGMENT_H_
