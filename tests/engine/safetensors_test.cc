// Tests of safetensors files and of how they are found in a folder.
#include "engine/core/safetensors.h"

#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/core/float16.h"
#include "engine/core/weight_files.h"
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

std::string ManyTimes(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// Members of a header: empty tensors.
std::string NamedTensors(int count) {
  std::string out;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&out, i == 0 ? "\"" : ",\"", i, R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})");
  }
  return out;
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
      {"\x40" + std::string(7, '\0') + "{}", "header of 64 bytes does not fit"},
      {std::string(8, '\xff') + "{}", "does not fit"},
      {File("{\"a\":", 0), "not a JSON object"},
      {File("[]", 0), "not a JSON object"},
      {File(std::string(100000, '['), 0), "not a JSON object"},
      {File(R"({"a":3})", 0), "'a' has no dtype"},
      {File(R"({"a":{"dtype":"F32","shape":[1]}})", 4), "'a' has no dtype, shape and data_offsets"},
      {File(R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}})", 4),
       "'a' has the type 'F4', which is not known"},
      {File(R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4), "'a' has a dtype that is not a string"},
      {File(R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0), "'a' has a shape"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4), "'a' has data_offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":["0","4"]}})", 4), "'a' has data_offsets"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4), "'a' has offsets 4 to 0 outside"},
      {File("{" + a + "}", 7), "'a' has offsets 0 to 8 outside the file's 7 bytes"},
      {File(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}})", 4),
       "'a' has data_offsets that are not two sizes"},
      {File(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
       "'a' has 8 bytes where its shape needs 12"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12), "'b' overlaps"},
      {File("{" + a + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]}})", 16), "4 bytes before tensor 'b'"},
      {File("{" + a + "}", 9), "1 bytes at the end"},
      {File(" {" + a + "}", 8), "begins with '{'"},
      {File("{" + a + "}}", 8), "not a JSON object (byte "},
      {File("{" + a + "," + a + "}", 8), "'a' is in the header twice"},
      {File(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", 1), "'a' has two fields 'dtype'"},
      {File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"scale":2}})", 1), "'a' has the field 'scale'"},
      {File(R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})", 1), "'a' has a shape"},
      {File(R"({"a":{"dtype":["U8"],"shape":[1],"data_offsets":[0,1]}})", 1), "'a' has a dtype"},
      {File(R"({"a":{"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,1]}})", 1), "'a' has a shape"},
      {File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}})", 1), "'a' has data_offsets"},
      {File(R"({"a":[{"dtype":"U8","shape":[1],"data_offsets":[0,1]}]})", 1), "'a' has no dtype"},
      {File(R"({"__metadata__":7,)" + a + "}", 8), "'__metadata__' does not map strings to strings"},
      {File(R"({"__metadata__":{"format":7},)" + a + "}", 8), "'__metadata__' does not map"},
      {File(R"({"__metadata__":{"format":{"a":"b"}},)" + a + "}", 8), "'__metadata__' does not map"},
      {File(R"({"__metadata__":{},)" + a + R"(,"__metadata__":{}})", 8), "'__metadata__' is in the header twice"},
      {File("{\"" + std::string(1001, 'n') + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1),
       "name of 1001"},
      {File(R"({"a":{"dtype":"U8","shape":[1)" + ManyTimes(",1", 64) + R"(],"data_offsets":[0,1]}})", 1),
       "64 dimensions"},
      {File("{" + NamedTensors(200'001) + "}", 0), "more than 200000 tensors"},
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
      {R"({"weight_map":{"a":"m-1.safetensors","b":"m-1.safetensors","a":"m-1.safetensors"}})", "the key 'a' twice"},
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

// Two tensors of 8 and 4 bytes.
std::string TwoTensors(const std::string& blanks) {
  return File(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
              R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})" +
                  blanks,
              12);
}

TEST(Safetensors, DataIsAlignedWhereverItLies) {
  TempFolder folder;
  for (int blanks = 0; blanks < 8; ++blanks) {
    auto store = TensorStore::OpenFile(folder.Write("w", TwoTensors(std::string(blanks, ' '))));
    ASSERT_TRUE(store.ok()) << store.status();
    for (const auto& [name, n] : {std::pair<const char*, int64_t>("a", 2), {"b", 1}}) {
      const auto t = store->Get(name, {n});
      ASSERT_TRUE(t.ok()) << t.status();
      EXPECT_EQ(reinterpret_cast<uintptr_t>(t->data) % 8, 0u);
      EXPECT_EQ(std::memcmp(t->data, "\1\1\1\1\1\1\1\1", 4 * n), 0);
    }
  }
}

TEST(Safetensors, MemoryOfViewsThatEndedIsReadIntoAgain) {
  TempFolder folder;
  auto store = TensorStore::OpenFile(folder.Write("w", TwoTensors("")));
  ASSERT_TRUE(store.ok()) << store.status();
  const void* first = store->Get("a", {2})->data;
  const void* second = store->Get("b", {1})->data;
  EXPECT_NE(first, second);
  store->Recycle();
  EXPECT_EQ(store->Get("b", {1})->data, first);
  EXPECT_NE(store->Get("a", {2})->data, first);
}

TEST(Safetensors, CheckingATensorReadsNothing) {
  TempFolder folder;
  const std::string path = folder.Write("w", TwoTensors(""));
  auto store = TensorStore::OpenFile(path);
  ASSERT_TRUE(store.ok()) << store.status();
  std::filesystem::resize_file(path, 8);
  EXPECT_TRUE(store->Check("a", {2}).ok());
  EXPECT_THAT(store->Check("b", {2}).message(), HasSubstr("'b' has the shape [1]"));
  EXPECT_EQ(store->used_bytes(), 12u);
}

// A mapped file would end the process here.
TEST(Safetensors, AFileThatBecomesShorterIsAnError) {
  TempFolder folder;
  const std::string path = folder.Write("w", TwoTensors(""));
  auto store = TensorStore::OpenFile(path);
  ASSERT_TRUE(store.ok()) << store.status();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_TRUE(store->Get("a", {2}).ok());
  const absl::Status status = store->Get("b", {1}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(status.message(), AllOf(HasSubstr(path), HasSubstr("shorter")));
}

struct FolderCase {
  std::map<std::string, std::string> files;
  std::string outcome;  // the file that is taken, or a part of the error
};

TEST(WeightFiles, AreThePlainOnesOrTheOnlyVariant) {
  const std::string one = R"({"weight_map":{"a":"m-00001-of-00002.safetensors","b":"m-00002-of-00002.safetensors"}})";
  const std::string first = "m-00001-of-00002.safetensors", second = "m-00002-of-00002.safetensors";
  const std::string half = R"({"weight_map":{"a":"m.fp16-00001-of-00001.safetensors"}})";
  const std::string old = R"({"weight_map":{"a":"m-00001-of-00001.fp16.safetensors"}})";
  for (const FolderCase& c : std::vector<FolderCase>{
           {{{"m.safetensors", ""}}, "m.safetensors"},
           {{{"m.safetensors", ""}, {"m.fp16.safetensors", ""}, {"m.bf16.safetensors", ""}}, "m.safetensors"},
           {{{"m.fp16.safetensors", ""}, {"config.json", ""}, {"m2.safetensors", ""}}, "m.fp16.safetensors"},
           {{{"m.non_ema.safetensors", ""}, {"m.bin", ""}}, "m.non_ema.safetensors"},
           {{{"m.safetensors.index.json", one}, {first, ""}, {second, ""}, {"m.bf16.safetensors", ""}},
            "m.safetensors.index.json"},
           {{{"m.safetensors.index.fp16.json", half}, {"m.fp16-00001-of-00001.safetensors", ""}},
            "m.safetensors.index.fp16.json"},
           {{{"m.safetensors.index.fp16.json", old}, {"m-00001-of-00001.fp16.safetensors", ""}},
            "m.safetensors.index.fp16.json"},
           {{{"m.index.fp16.json", half}, {"m.fp16-00001-of-00001.safetensors", ""}}, "m.index.fp16.json"},
           {{{"m.fp16.safetensors.index.json", half}, {"m.fp16-00001-of-00001.safetensors", ""}},
            "m.fp16.safetensors.index.json"},
           // An index that names the single file agrees with it.
           {{{"m.safetensors", ""}, {"m.safetensors.index.json", R"({"weight_map":{"a":"m.safetensors"}})"}},
            "m.safetensors.index.json"},

           {{{"m.fp16.safetensors", ""}, {"m.bf16.safetensors", ""}}, "the variants bf16, fp16 of m and no plain"},
           {{{"m.fp16.safetensors", ""}, {"m.safetensors.index.bf16.json", "{}"}}, "the variants bf16, fp16"},
           {{{"m.safetensors", ""}, {"m.safetensors.index.json", one}, {first, ""}, {second, ""}},
            "m.safetensors, m.safetensors.index.json are not of one save"},
           {{{"m.safetensors.index.json", one}, {first, ""}, {second, ""}, {"m-00003-of-00003.safetensors", ""}},
            "m-00003-of-00003.safetensors, m.safetensors.index.json are not of one save"},
           {{{"m.safetensors", ""}, {first, ""}}, "m-00001-of-00002.safetensors, m.safetensors are not of one save"},
           {{{"m.index.fp16.json", half}, {"m.fp16.safetensors.index.json", half}}, "are not of one save"},
           {{{"m.fp16.safetensors", ""}, {"m.index.fp16.json", half}}, "are not of one save"},
           {{{first, ""}, {second, ""}}, "m-00001-of-00002.safetensors, m-00002-of-00002.safetensors have no index"},
           {{{"m.bin", ""}, {"config.json", ""}},
            "m.safetensors: does not exist, and m.bin is in a format that is not read"},
           {{{"pytorch_model.bin.index.json", ""}}, "pytorch_model.bin.index.json is in a format that is not read"},
           {{{"config.json", ""}, {"n.safetensors", ""}},
            "m.safetensors: does not exist; the folder holds config.json, n.safetensors"},
           {{{"m-1.safetensors", ""}, {"mm.safetensors", ""}}, "m.safetensors: does not exist; the folder holds"},
           {{{"m.fp16.x.safetensors", ""}, {"m..safetensors", ""}, {"m.safetensors.bak", ""}},
            "m.safetensors: does not exist; "},
           {{}, "m.safetensors: does not exist; the folder is empty"},
       }) {
    const TempFolder folder;
    for (const auto& [name, text] : c.files) folder.Write(name, text);
    const auto files = FindWeightFiles(folder.path(), "m");
    ASSERT_EQ(files.ok(), c.outcome.find(' ') == std::string::npos) << c.outcome << ": " << files.status();
    if (files.ok()) {
      EXPECT_EQ(files->path, folder.path() + "/" + c.outcome);
      EXPECT_EQ(files->indexed, c.outcome.ends_with(".json"));
    } else {
      EXPECT_THAT(files.status().message(), AllOf(HasSubstr(folder.path()), HasSubstr(c.outcome)));
    }
  }
  EXPECT_THAT(FindWeightFiles("/nonexistent", "m").status().message(), HasSubstr("/nonexistent: cannot be read"));
}

TEST(WeightFiles, AVariantLoads) {
  const TempFolder folder;
  folder.Write("m.safetensors.index.bf16.json", R"({"metadata":{},"weight_map":{"a":"m.bf16-00001-of-00001.safetensors",
                                                    "b":"m.bf16-00001-of-00001.safetensors"}})");
  folder.Write("m.bf16-00001-of-00001.safetensors", TwoTensors(""));
  auto store = TensorStore::Open(folder.path(), "m");
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE(store->Get("b", {1}).ok());
}

}  // namespace
}  // namespace longtake
