// Scaling of pictures, and their orientation.
#ifndef LONGTAKE_SERVER_IMAGE_RESAMPLE_H_
#define LONGTAKE_SERVER_IMAGE_RESAMPLE_H_

#include "server/image/image.h"

namespace longtake::server {

// Scales the picture to cover `width` x `height` and crops what is beside the centre.
//
// Bicubic (a = -0.5), with a filter that grows with the reduction. Weights are whole numbers of 2^-22, so that sums are
// exact and the same on every processor.
Picture CoverAndCrop(const Picture& picture, int width, int height);

// The picture as it is to be seen, of one stored with an EXIF orientation of 1 to 8.
Picture Oriented(const Picture& stored, int orientation);

}  // namespace longtake::server

#endif  // LONGTAKE_SERVER_IMAGE_RESAMPLE_H_
