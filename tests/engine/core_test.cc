#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "engine/core/float16.h"
#include "engine/core/json_config.h"
#include "engine/core/philox.h"
#include "engine/core/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/engine/temp_folder.h"

namespace longtake {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(data_bytes, '\1');
}

TEST(Safetensors, WritesWhatItReads) {
  TempFolder folder;
  const std::vector<float> a = {1.5f, -2.f, 3.f, 0.f, 7.f, 8.f};
  const std::vector<int64_t> b = {-1, 1LL << 40};
  const std::vector<uint8_t> c = {1, 2, 3};
  const std::string path = folder.path() + "/x.safetensors";
  const std::map<std::string, HostTensor> tensors = {{"c", {c.data(), DType::kU8, {3}}},
                                                     {"d.weight", {a.data(), DType::kF32, {2, 3}}},
                                                     {"e", {b.data(), DType::kI64, {1, 2}}},
                                                     {"none", {nullptr, DType::kF32, {0, 4}}}};
  ASSERT_TRUE(WriteSafetensors(path, tensors).ok());
  auto store = TensorStore::OpenFile(path);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_THAT(store->names(), ElementsAre("c", "d.weight", "e", "none"));
  EXPECT_EQ(store->total_bytes(), 3 + 24 + 16u);
  // Three bytes come first, so that the floats lie at an odd address of the file.
  const auto d = store->Get("d.weight", {2, 3});
  ASSERT_TRUE(d.ok()) << d.status();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(d->data) % 4, 0u);
  EXPECT_EQ(ToFloats(*d), a);
  ASSERT_TRUE(store->Get("d.weight", {2, 3}).ok());
  EXPECT_EQ(store->used_bytes(), 24u);  // each tensor once, however often it is read
  const auto e = store->GetAny("e");
  ASSERT_TRUE(e.ok()) << e.status();
  EXPECT_EQ(e->shape, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(std::memcmp(e->data, b.data(), 16), 0);
  EXPECT_THAT(std::string(store->CheckAllUsed().message()), AllOf(HasSubstr("x.safetensors"), HasSubstr("'c'")));
  EXPECT_THAT(std::string(store->Get("d.weight", {3, 2}).status().message()),
              AllOf(HasSubstr("x.safetensors"), HasSubstr("'d.weight'"), HasSubstr("[2,3]"), HasSubstr("[3,2]")));
  EXPECT_THAT(std::string(store->Get("e", {1, 2}).status().message()), HasSubstr("'e' has the type int64"));
  EXPECT_THAT(std::string(store->Get("f", {}).status().message()), HasSubstr("'f' is missing"));
  ASSERT_TRUE(store->GetAny("c").ok());
  ASSERT_TRUE(store->GetAny("none").ok());
  EXPECT_TRUE(store->CheckAllUsed().ok());
}

struct BadFile {
  std::string bytes;
  std::string error;
};

TEST(Safetensors, RefusesMalformedFilesByName) {
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::vector<BadFile> table = {
      {"", "too short"},
      {"\7\0\0", "too short"},
      {std::string("\x40\0\0\0\0\0\0\0{}", 10), "header of 64 bytes does not fit"},
      {std::string(8, '\xff') + "{}", "does not fit"},
      {File("{\"a\":", 0), "not a JSON object"},
      {File("[]", 0), "not a JSON object"},
      {File(std::string(100000, '['), 0), "not a JSON object"},
      {File(R"({"a":3})", 0), "'a' has no dtype"},
      {File(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "'a' has no dtype, shape and data_offsets"},
      {File(R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}})", 4), "'a' has the type \"F4\""},
      {File(R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4), "'a' has the type 7"},
      {File(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), "'a' has data_offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":["0","4"]}})", 4), "'a' has data_offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "'a' has offsets 4 to 0 outside"},
      {File("{" + a + "}", 7), "'a' has offsets 0 to 8 outside the file's 7 bytes"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})", 4), "'a' has offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
       "'a' has 8 bytes where its shape needs 12"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12), "'b' overlaps"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16), "4 bytes before tensor 'b'"},
      {File("{" + a + "}", 9), "1 bytes at the end"},
  };
  TempFolder folder;
  for (const BadFile& bad : table) {
    const std::string path = folder.Write("bad.safetensors", bad.bytes);
    const auto store = TensorStore::OpenFile(path);
    ASSERT_FALSE(store.ok()) << bad.error;
    EXPECT_THAT(std::string(store.status().message()), AllOf(HasSubstr(path), HasSubstr(bad.error)));
  }
  EXPECT_THAT(std::string(TensorStore::OpenFile(folder.path() + "/no").status().message()), HasSubstr("/no"));
  EXPECT_THAT(std::string(TensorStore::OpenFile(folder.path()).status().message()), HasSubstr("regular file"));
}

TEST(Safetensors, EveryTruncationOfAFileIsRefused) {
  TempFolder folder;
  const std::string whole = File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  ASSERT_TRUE(TensorStore::OpenFile(folder.Write("w", whole)).ok());
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_FALSE(TensorStore::OpenFile(folder.Write("w", whole.substr(0, n))).ok()) << n;
  }
}

// Every byte of the header replaced by each of a few others: refused, or every tensor lies inside the file.
TEST(Safetensors, NoByteOfTheHeaderLeadsOutOfTheFile) {
  TempFolder folder;
  const std::string whole = File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                                 R"("b":{"dtype":"U8","shape":[1,3],"data_offsets":[8,11]}})",
                                 11);
  int opened = 0;
  for (size_t i = 0; i < whole.size() - 11; ++i) {
    for (const char c : {'\0', '\x7f', '\xff', '0', '9', '"', '{', '}', '[', ',', '-', 'e', '.'}) {
      std::string bytes = whole;
      bytes[i] = c;
      auto store = TensorStore::OpenFile(folder.Write("w", bytes));
      if (!store.ok()) continue;
      ++opened;
      for (const std::string& name : store->names()) {
        const auto t = store->GetAny(name);
        ASSERT_TRUE(t.ok()) << t.status();
        const auto* data = static_cast<const char*>(t->data);
        for (size_t k = 0; k < t->elements() * SizeOf(t->dtype); ++k) ASSERT_EQ(data[k], 1);
      }
    }
  }
  EXPECT_GT(opened, 10);  // another name, for one, is as good
}

TEST(Safetensors, ReadsShards) {
  TempFolder folder;
  const std::string one = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  folder.Write("m-1.safetensors", File("{\"a\":" + one, 4));
  folder.Write("m-2.safetensors", File("{\"b\":" + one, 4));
  folder.Write("m.safetensors.index.json",
               R"({"metadata":{"total_size":8},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  auto store = TensorStore::Open(folder.path(), "m");
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE(store->Get("a", {1}).ok());
  EXPECT_THAT(std::string(store->CheckAllUsed().message()), AllOf(HasSubstr("m-2.safetensors"), HasSubstr("'b'")));
}

TEST(Safetensors, RefusesMalformedShardsByName) {
  const std::vector<BadFile> table = {
      {R"({)", "not valid JSON"},
      {R"(7)", "not a JSON object"},
      {R"({"metadata":{}})", "'weight_map'"},
      {R"({"weight_map":[]})", "'weight_map'"},
      {R"({"weight_map":{"a":7}})", "'a'"},
      {R"({"weight_map":{"a":"../m-1.safetensors"}})", "'a' has no plain file name"},
      {R"({"weight_map":{"a":"m-1.safetensors"}})", "m-1.safetensors: tensor 'b' is not in the index"},
      {R"({"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","c":"m-1.safetensors"}})",
       "m-1.safetensors: tensor 'c' of the index is missing"},
      {R"({"weight_map":{"a":"gone.safetensors"}})", "gone.safetensors"},
  };
  TempFolder folder;
  folder.Write("m-1.safetensors", File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                                            "b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                                       8));
  for (const BadFile& bad : table) {
    folder.Write("m.safetensors.index.json", bad.bytes);
    const auto store = TensorStore::Open(folder.path(), "m");
    ASSERT_FALSE(store.ok()) << bad.error;
    EXPECT_THAT(std::string(store.status().message()), AllOf(HasSubstr(folder.path()), HasSubstr(bad.error)));
  }
}

TEST(JsonConfig, ReadsFields) {
  JsonConfig c("f.json", nlohmann::json::parse(R"({"i":3,"n":1.5,"b":true,"s":"x","l":[1,2],"t":["a"],"o":[true,false],
                                                  "null":null,"unknown_null":null,"same":1,"v":"4.57"})"));
  EXPECT_EQ(c.Int("i", 0, 9), 3);
  EXPECT_EQ(c.Number("i"), 3.0);
  EXPECT_EQ(c.Number("n"), 1.5);
  EXPECT_TRUE(c.Bool("b", false));
  EXPECT_EQ(c.String("s", ""), "x");
  EXPECT_EQ(c.Ints("l", {}), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(c.Numbers("l", {}), (std::vector<double>{1, 2}));
  EXPECT_EQ(c.Strings("t", {}), std::vector<std::string>{"a"});
  EXPECT_EQ(c.Bools("o", {}), (std::vector<bool>{true, false}));
  EXPECT_EQ(c.Int("null", 0, 9, 7), 7);
  EXPECT_EQ(c.Number("absent", 2.0), 2.0);
  EXPECT_FALSE(c.Has("null"));
  ASSERT_NE(c.Raw("null"), nullptr);
  EXPECT_TRUE(c.Raw("null")->is_null());
  EXPECT_EQ(c.Raw("absent"), nullptr);
  c.MustBe("same", 1.0);
  c.Ignore({"v", "not there"});
  EXPECT_TRUE(c.Finish().ok()) << c.Finish();
}

TEST(JsonConfig, ReadsPythonsNonFiniteNumbersAsStrings) {
  TempFolder folder;
  auto c = JsonConfig::Load(folder.Write("c.json", R"({"a":-Infinity,"b":[NaN,Infinity],"c":"NaN \"-Infinity"})"));
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->String("a", ""), "-Infinity");
  EXPECT_EQ(c->Strings("b", {}), (std::vector<std::string>{"NaN", "Infinity"}));
  EXPECT_EQ(c->String("c", ""), "NaN \"-Infinity");
  EXPECT_FALSE(JsonConfig::Load(folder.Write("c.json", R"({"a":-Inf})")).ok());
  EXPECT_FALSE(JsonConfig::Load(folder.Write("c.json", "{\"a\":\"\\")).ok());
}

TEST(JsonConfig, NamesTheFieldAtFault) {
  const auto error = [](const char* json, void (*read)(JsonConfig&)) {
    JsonConfig c("f.json", nlohmann::json::parse(json));
    read(c);
    return std::string(c.Finish().message());
  };
  EXPECT_EQ(error(R"({})", [](JsonConfig& c) { c.Int("x", 1, 2); }), "f.json: field 'x' is missing");
  EXPECT_EQ(error(R"({"x":3})", [](JsonConfig& c) { c.Int("x", 1, 2); }),
            "f.json: field 'x' must be an integer from 1 to 2");
  EXPECT_EQ(error(R"({"x":18446744073709551615})", [](JsonConfig& c) { c.Int("x", 1, 2, 1); }),
            "f.json: field 'x' must be an integer from 1 to 2");
  EXPECT_THAT(error(R"({"x":1.5})", [](JsonConfig& c) { c.Int("x", 1, 2); }), HasSubstr("'x' must be"));
  EXPECT_THAT(error(R"({"x":"1"})", [](JsonConfig& c) { c.Number("x"); }), HasSubstr("'x' must be a number"));
  EXPECT_THAT(error(R"({"x":null})", [](JsonConfig& c) { c.Number("x"); }), HasSubstr("'x' is missing"));
  EXPECT_THAT(error(R"({"x":1})", [](JsonConfig& c) { c.Bool("x", true); }), HasSubstr("'x' must be true or false"));
  EXPECT_THAT(error(R"({"x":1})", [](JsonConfig& c) { c.String("x", ""); }), HasSubstr("'x' must be a string"));
  EXPECT_THAT(error(R"({"x":[1,"a"]})", [](JsonConfig& c) { c.Numbers("x", {}); }), HasSubstr("'x' must be a list"));
  EXPECT_THAT(error(R"({"x":{}})", [](JsonConfig& c) { c.Ints("x", {}); }), HasSubstr("'x' must be a list"));
  EXPECT_THAT(error(R"({"x":"silu"})", [](JsonConfig& c) { c.MustBe("x", "gelu"); }), HasSubstr("'x' is \"silu\""));
  EXPECT_THAT(error(R"({"x":1,"y":2})", [](JsonConfig& c) { c.Int("x", 1, 2); }), HasSubstr("'y' is not known"));
  EXPECT_THAT(error(R"({"x":9,"y":2})", [](JsonConfig& c) { c.Int("x", 1, 2), c.Fail("y", "bad"); }), HasSubstr("'x'"));
  EXPECT_THAT(error(R"({"x":1e39})", [](JsonConfig& c) { c.Number("x"); }), HasSubstr("float32"));
  EXPECT_FALSE(JsonConfig::Load("/nonexistent/config.json").ok());
}

TEST(JsonConfig, RefusesDepthThatRecursionCouldNotCopy) {
  const TempFolder folder;
  const auto nested = [&](size_t depth) {
    return folder.Write("c.json", "{\"x\":" + std::string(depth - 1, '[') + std::string(depth - 1, ']') + "}");
  };
  EXPECT_TRUE(JsonConfig::Load(nested(64)).ok());
  EXPECT_THAT(JsonConfig::Load(nested(65)).status().message(), HasSubstr("c.json"));
  EXPECT_FALSE(JsonConfig::Load(nested(1'000'000)).ok());
  EXPECT_TRUE(JsonConfig::Load(folder.Write("c.json", "{\"x\":\"\\\"" + std::string(65, '[') + "\"}")).ok());
}

TEST(JsonConfig, RefusesWhatIsNoFileWithoutWaitingForIt) {
  const TempFolder folder;
  const std::string pipe = folder.path() + "/pipe.json";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(JsonConfig::Load(pipe).status().message(), HasSubstr("pipe.json"));
  EXPECT_THAT(JsonConfig::Load(folder.path()).status().message(), HasSubstr("not a regular file"));
}

TEST(Float16, ConvertsExactly) {
  EXPECT_EQ(F16ToFloat(0x3c00), 1.f);
  EXPECT_EQ(F16ToFloat(0xc000), -2.f);
  EXPECT_EQ(F16ToFloat(0x0001), std::ldexp(1.f, -24));
  EXPECT_EQ(F16ToFloat(0x7bff), 65504.f);
  EXPECT_EQ(F16ToFloat(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(F16ToFloat(0x7e00)));
  EXPECT_EQ(BF16ToFloat(0x3fc0), 1.5f);
  EXPECT_EQ(FloatToBF16(1.f + 0x1p-8f), 0x3f80);      // a tie goes to the even neighbour below
  EXPECT_EQ(FloatToBF16(1.f + 3 * 0x1p-8f), 0x3f82);  // and above
  EXPECT_EQ(FloatToBF16(1.f + 0x1.1p-8f), 0x3f81);
  EXPECT_TRUE(std::isnan(BF16ToFloat(FloatToBF16(std::nanf("")))));
  const std::vector<uint16_t> half = {0x3c00, 0xc000};
  EXPECT_EQ(ToFloats({half.data(), DType::kF16, {2}}), (std::vector<float>{1, -2}));
  const std::vector<uint16_t> brain = {0x3f80, 0xc000};
  EXPECT_EQ(ToFloats({brain.data(), DType::kBF16, {2, 1}}), (std::vector<float>{1, -2}));
}

// Published with the algorithm (Random123's known-answer file, philox4x32, 10 rounds).
TEST(Philox, KnownAnswers) {
  EXPECT_THAT(Philox4x32({0, 0, 0, 0}, {0, 0}), ElementsAre(0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u));
  const uint32_t f = 0xffffffffu;
  EXPECT_THAT(Philox4x32({f, f, f, f}, {f, f}), ElementsAre(0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu));
  EXPECT_THAT(Philox4x32({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}),
              ElementsAre(0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u));
}

TEST(Philox, NormalNumbersHaveTheirMoments) {
  constexpr int kQuads = 25000;
  double mean = 0, square = 0, fourth = 0;
  for (int i = 0; i < kQuads; ++i) {
    for (const float x : NormalQuad(7, 1, 2, i)) mean += x, square += x * x, fourth += x * x * x * x;
  }
  const double n = 4.0 * kQuads;
  // Four standard errors of each: 1, sqrt(2) and sqrt(96) over sqrt(n).
  EXPECT_NEAR(mean / n, 0, 4 / std::sqrt(n));
  EXPECT_NEAR(square / n, 1, 4 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3, 4 * std::sqrt(96 / n));
  EXPECT_NE(NormalQuad(7, 1, 2, 0), NormalQuad(8, 1, 2, 0));
  EXPECT_NE(NormalQuad(7, 1, 2, 0), NormalQuad(7, 2, 2, 0));
  EXPECT_NE(NormalQuad(7, 1, 2, 0), NormalQuad(7, 1, 3, 0));
}

}  // namespace
}  // namespace longtake
