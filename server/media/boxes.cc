#include "server/media/boxes.h"

#include <numeric>

#include "server/media/box_writer.h"

namespace longtake::media {
namespace {

constexpr uint32_t kTrack = 1;

// Sample flags (14496-12, 8.8.3.1): depends on no other sample; depends on others and is no sync sample.
constexpr uint32_t kKeyFrame = 0x02000000, kOtherFrame = 0x01010000;

// Units of time of the movie and its track. One frame lasts a whole number of them.
struct TimeScale {
  uint32_t per_second = 0, per_frame = 0;
};

// A multiple of the rate that is at least 10,000, as libavformat chooses it: units of 1/16 s would be legal, but few
// players have seen such.
TimeScale TimeScaleOf(const FrameRate& rate) {
  TimeScale scale = {.per_second = static_cast<uint32_t>(rate.numerator),
                     .per_frame = static_cast<uint32_t>(rate.denominator)};
  while (scale.per_second < 10'000) {
    scale.per_second *= 2;
    scale.per_frame *= 2;
  }
  return scale;
}

void Matrix(BoxWriter& w) {
  for (const uint32_t value : {0x10000u, 0u, 0u, 0u, 0x10000u, 0u, 0u, 0u, 0x40000000u}) w.U32(value);
}

void MovieHeader(BoxWriter& w, const TimeScale& scale) {
  w.FullBox("mvhd", 0, 0, [&] {
    w.Zeros(8);  // creation and modification: a clock's time would make the bytes differ
    w.U32(scale.per_second);
    w.U32(0);        // duration of the samples in moov: there are none
    w.U32(0x10000);  // rate 1.0
    w.U16(0x100);    // volume 1.0
    w.Zeros(10);
    Matrix(w);
    w.Zeros(24);
    w.U32(kTrack + 1);  // next track
  });
}

void TrackHeader(BoxWriter& w, const StreamFormat& format) {
  constexpr uint32_t kEnabled = 1, kInMovie = 2;
  w.FullBox("tkhd", 0, kEnabled | kInMovie, [&] {
    w.Zeros(8);
    w.U32(kTrack);
    w.Zeros(4 + 4 + 8 + 2 + 2 + 2 + 2);  // duration, layer, group and volume
    Matrix(w);
    w.U32(static_cast<uint32_t>(format.width) << 16);
    w.U32(static_cast<uint32_t>(format.height) << 16);
  });
}

// AVCDecoderConfigurationRecord (14496-15, 5.3.3.1.2).
void AvcConfiguration(BoxWriter& w, const ParameterSets& sets) {
  w.Box("avcC", [&] {
    w.U8(1);
    w.Bytes(absl::string_view(sets.sps).substr(1, 3));  // profile, constraints, level
    w.U8(0xFC | 3);                                     // lengths of NAL units have 4 bytes
    w.U8(0xE0 | 1);
    w.U16(static_cast<uint16_t>(sets.sps.size()));
    w.Bytes(sets.sps);
    w.U8(1);
    w.U16(static_cast<uint16_t>(sets.pps.size()));
    w.Bytes(sets.pps);
    w.U8(0xFC | 1);  // High profile: 4:2:0,
    w.U8(0xF8 | 0);  // 8 bits of luma
    w.U8(0xF8 | 0);  // and of chroma,
    w.U8(0);         // no extension of the sequence parameter set
  });
}

void SampleEntry(BoxWriter& w, const StreamFormat& format, const ParameterSets& sets) {
  w.Box("avc1", [&] {
    w.Zeros(6);
    w.U16(1);  // data reference
    w.Zeros(16);
    w.U16(static_cast<uint16_t>(format.width));
    w.U16(static_cast<uint16_t>(format.height));
    w.U32(72 << 16);  // pixels per inch, as everybody writes
    w.U32(72 << 16);
    w.Zeros(4);
    w.U16(1);     // frames in a sample
    w.Zeros(32);  // the compressor's name
    w.U16(24);    // depth: colour without alpha
    w.U16(0xFFFF);
    AvcConfiguration(w, sets);
    w.Box("colr", [&] {
      w.Bytes("nclx");
      for (int i = 0; i < 3; ++i) w.U16(1);  // primaries, transfer and matrix of BT.709
      w.U8(0);                               // limited range
    });
  });
}

void SampleTable(BoxWriter& w, const StreamFormat& format, const ParameterSets& sets) {
  w.Box("stbl", [&] {
    w.FullBox("stsd", 0, 0, [&] {
      w.U32(1);
      SampleEntry(w, format, sets);
    });
    // The samples are described by the fragments.
    for (const char* empty : {"stts", "stsc", "stco"}) w.FullBox(empty, 0, 0, [&] { w.U32(0); });
    w.FullBox("stsz", 0, 0, [&] { w.Zeros(8); });
  });
}

void MediaBox(BoxWriter& w, const StreamFormat& format, const TimeScale& scale, const ParameterSets& sets) {
  w.Box("mdia", [&] {
    w.FullBox("mdhd", 0, 0, [&] {
      w.Zeros(8);
      w.U32(scale.per_second);
      w.U32(0);       // duration
      w.U16(0x55C4);  // language "und", five bits a letter
      w.U16(0);
    });
    w.FullBox("hdlr", 0, 0, [&] {
      w.U32(0);
      w.Bytes("vide");
      w.Zeros(12);
      w.Bytes(absl::string_view("video\0", 6));
    });
    w.Box("minf", [&] {
      w.FullBox("vmhd", 0, 1, [&] { w.Zeros(8); });
      w.Box("dinf", [&] {
        w.FullBox("dref", 0, 0, [&] {
          w.U32(1);
          w.FullBox("url ", 0, 1, [] {});  // the data is in this file
        });
      });
      SampleTable(w, format, sets);
    });
  });
}

void TrackFragment(BoxWriter& w, const Fragment& fragment, size_t& data_offset_position) {
  const TimeScale scale = TimeScaleOf(fragment.rate);
  constexpr uint32_t kDefaultDuration = 0x8, kDefaultFlags = 0x20, kBaseIsMoof = 0x20000;
  w.FullBox("tfhd", 0, kDefaultDuration | kDefaultFlags | kBaseIsMoof, [&] {
    w.U32(kTrack);
    w.U32(scale.per_frame);
    w.U32(kOtherFrame);
  });
  w.FullBox("tfdt", 1, 0, [&] { w.U64(static_cast<uint64_t>(fragment.first_frame) * scale.per_frame); });
  constexpr uint32_t kDataOffset = 0x1, kFirstFlags = 0x4, kSizes = 0x200;
  w.FullBox("trun", 0, kDataOffset | kSizes | (fragment.starts_with_key_frame ? kFirstFlags : 0), [&] {
    w.U32(static_cast<uint32_t>(fragment.sample_bytes.size()));
    data_offset_position = w.size();
    w.U32(0);
    if (fragment.starts_with_key_frame) w.U32(kKeyFrame);
    for (const uint32_t bytes : fragment.sample_bytes) w.U32(bytes);
  });
}

}  // namespace

std::string InitSegment(const StreamFormat& format, const ParameterSets& sets) {
  const TimeScale scale = TimeScaleOf(format.rate);
  BoxWriter w;
  w.Box("ftyp", [&] {
    w.Bytes("iso5");
    w.U32(0);
    w.Bytes("iso5iso6cmfcmp41");
  });
  w.Box("moov", [&] {
    MovieHeader(w, scale);
    w.Box("trak", [&] {
      TrackHeader(w, format);
      MediaBox(w, format, scale, sets);
    });
    w.Box("mvex", [&] {
      w.FullBox("mehd", 1, 0, [&] { w.U64(static_cast<uint64_t>(format.frames) * scale.per_frame); });
      w.FullBox("trex", 0, 0, [&] {
        w.U32(kTrack);
        w.U32(1);     // sample description
        w.Zeros(12);  // each fragment has its own defaults, so that it does not depend on this
      });
    });
  });
  return w.Take();
}

std::string FragmentHeader(const Fragment& fragment) {
  BoxWriter w;
  size_t data_offset_position = 0;
  w.Box("moof", [&] {
    w.FullBox("mfhd", 0, 0, [&] { w.U32(static_cast<uint32_t>(fragment.first_frame + 1)); });
    w.Box("traf", [&] { TrackFragment(w, fragment, data_offset_position); });
  });
  constexpr uint32_t kBoxHeader = 8;
  w.SetU32(data_offset_position, static_cast<uint32_t>(w.size()) + kBoxHeader);
  w.U32(std::accumulate(fragment.sample_bytes.begin(), fragment.sample_bytes.end(), kBoxHeader));
  w.Bytes("mdat");
  return w.Take();
}

}  // namespace longtake::media
