// What the decoder's lane makes: video frames of latents, and the latent frame of a first image.
#include <optional>
#include <vector>

#include "engine/models/video/video_frame.h"
#include "engine/ops/arena.h"
#include "engine/runtime/executor.h"

namespace longtake {

void Executor::EncodeImage(Session& session) {
  const SizeShape& shape = session.shape();
  const size_t positions = static_cast<size_t>(shape.size.width) * shape.size.height;
  const std::vector<uint8_t>& rgb = session.spec().first_image->rgb;
  for (size_t i = 0; i < positions; ++i) {
    for (size_t c = 0; c < 3; ++c)
      pixels_[c * positions + i] = 2.f * (static_cast<float>(rgb[3 * i + c]) / 255.f) - 1.f;
  }
  auto* const pixels = reinterpret_cast<float*>(DecoderScratch());
  decoder_ops_.device().Upload(pixels_.data(), pixels, PixelBytes(shape.size));
  VideoStream stream;
  shape.encoder->Encode(pixels, &stream, DecoderScratch() + Aligned(PixelBytes(shape.size)), 1, 0,
                        session.ImageLatent());
  ops_.device().WaitFor(decoder_ops_.device(), decoder_ops_.device().Record());
}

Executor::Handle Executor::IssueDecode(const BoundPass& p) {
  const SizeShape& shape = p.session->shape();
  const size_t frame_bytes = I420Bytes(shape.size.height, shape.size.width);
  Handle handle = NewIssued(Lane::kDecoder, 1);
  const bool begins = p.session->begins_decoding();
  decoder_ops_.device().WaitFor(ops_.device(), p.session->latents_written());
  if (const DecoderKind decoder = p.pass->decoder.value_or(p.session->spec().decoder);
      decoder != p.session->spec().decoder) {
    p.session->UseDecoder(decoder);
    if (!begins) RebuildCaches(*p.session, p.slot);
  }
  const Session::DecodeInput in = p.session->NextDecode();
  IssuedPasses::One& one = handle->passes.emplace_back();
  one.pass = p;
  one.progress = p.session->progress();
  one.frames.size = shape.size;
  one.frames.first_frame = in.first_video_frame;
  one.frames.bytes.resize(frame_bytes * in.video_frames);
  one.staged = staging_.Take();

  uint8_t* const i420 = DecoderScratch();
  in.stream->caches = caches_.Bring(p.slot, begins);
  Decode(*p.session, in, [&](const VideoFrame& frame) {
    ToI420(decoder_ops_, frame, i420);
    decoder_ops_.device().DownloadAsync(i420, one.staged + one.frames.count * frame_bytes, frame_bytes);
    ++one.frames.count;
  });
  handle->event = decoder_ops_.device().Record();
  p.session->LatentsRead(handle->event);
  return handle;
}

void Executor::RebuildCaches(Session& session, int slot) {
  session.BeginRebuild(caches_.Bring(slot, /*fresh=*/true));
  while (const std::optional<Session::DecodeInput> in = session.NextRebuild()) {
    Decode(session, *in, [](const VideoFrame&) {});
  }
}

void Executor::Decode(Session& session, const Session::DecodeInput& in, SizedVideoDecoder::Emit emit) {
  const SizeShape& shape = session.shape();
  uint8_t* const scratch = DecoderScratch() + Aligned(I420Bytes(shape.size.height, shape.size.width));
  session.decoder().Decode(in.latents, in.frames, in.t, in.stream, scratch, emit);
  session.KeepLatents(in.frame, &copies_);
  if (!copies_.empty()) decoder_ops_.device().CopyEach(copies_);
}

}  // namespace longtake
