// Valid, invalid and debatable safetensors files, each made in memory from a recipe, with the verdict that the reader
// must give. The verdicts follow the format's text; the debatable ones follow the decisions documented at the head of
// io/safetensors_header.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hostile {

enum class Verdict { ok, bad, policy_accept, policy_reject };

struct File {
  std::string name;
  Verdict verdict;
  std::string bytes;
};

using namespace std::string_literals;

inline std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (unsigned shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
  return bytes;
}

inline std::string framed(std::uint64_t length, const std::string& header, const std::string& data = "") {
  return little_endian(length) + header + data;
}

inline std::string file(const std::string& header, const std::string& data = "") {
  return framed(header.size(), header, data);
}

inline std::string zeros(std::size_t count) { return std::string(count, '\0'); }

inline std::string repeated(std::string_view text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

/// Shape and offsets are given as JSON text, for many of them are wrong on purpose.
inline std::string info(std::string_view dtype = R"("F32")", std::string_view shape = "[2,2]",
                        std::string_view offsets = "[0,16]") {
  return R"({"dtype":)"s.append(dtype) + R"(,"shape":)"s.append(shape) + R"(,"data_offsets":)"s.append(offsets) + "}";
}

inline std::string f32(std::string_view shape, std::string_view offsets) { return info(R"("F32")", shape, offsets); }
inline std::string u8(std::string_view shape, std::string_view offsets) { return info(R"("U8")", shape, offsets); }

/// The same as info() with a space after each colon and comma.
inline std::string spaced(std::string_view dtype = "F32", std::string_view offsets = "[0, 16]") {
  return R"({"dtype": ")"s.append(dtype) + R"(", "shape": [2, 2], "data_offsets": )"s.append(offsets) + "}";
}

inline std::string object(const std::vector<std::pair<std::string, std::string>>& entries) {
  std::string text = "{";
  for (const auto& [key, value] : entries) text += (text.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
  return text + "}";
}

inline std::string test(const std::string& value) { return object({{"test", value}}); }

inline const std::string good_header = test(info());
inline const std::string data16 = zeros(16);

inline void add_valid(std::vector<File>& files) {
  const auto ok = [&](std::string name, std::string bytes) { files.push_back({"ok_" + name, Verdict::ok, bytes}); };
  ok("minimal", file(good_header, data16));
  ok("empty", file("{}"));
  ok("empty_padded", file("{}      "));
  ok("metadata_only", file(R"({"__metadata__":{"framework":"x"}})"));
  ok("metadata_empty", file(object({{"__metadata__", "{}"}, {"test", info()}}), data16));
  ok("scalar", file(test(f32("[]", "[0,4]")), zeros(4)));
  ok("zero_dim", file(test(f32("[2,0]", "[0,0]"))));
  ok("zero_dim_then_data", file(object({{"a", f32("[0]", "[0,0]")}, {"b", info()}}), data16));
  ok("trailing_ws", file("{}\r \t\n"));
  ok("order_swapped", file(object({{"b", f32("[2,2]", "[16,32]")}, {"a", info()}}), zeros(32)));
  ok("nan_inf", file(object({{"w", f32("[4]", "[0,16]")}}), "\0\0\xc0\x7f\0\0\x80\x7f\0\0\x80\xff\0\0\0\x80"s));
  ok("denormal", file(object({{"w", f32("[1]", "[0,4]")}}), "\1\0\0\0"s));
  ok("dtypes", file(object({{"a", info(R"("F64")", "[1]", "[0,8]")},
                            {"b", info(R"("I64")", "[1]", "[8,16]")},
                            {"c", info(R"("BF16")", "[2]", "[16,20]")},
                            {"d", info(R"("F16")", "[2]", "[20,24]")},
                            {"e", u8("[3]", "[24,27]")},
                            {"f", info(R"("BOOL")", "[1]", "[27,28]")}}),
                    std::string(28, '\1')));
  ok("unicode_name", file(object({{"\\u00e9\xe4\xb8\xad", spaced()}}), data16));
  ok("unaligned_header", file(good_header + " ", data16));
  std::vector<std::pair<std::string, std::string>> many;
  for (int i = 0; i < 5000; ++i)
    many.emplace_back("t" + std::to_string(i), u8("[1]", "[" + std::to_string(i) + "," + std::to_string(i + 1) + "]"));
  ok("many", file(object(many), zeros(5000)));
}

inline void add_framing(std::vector<File>& files) {
  const auto bad = [&](std::string name, std::string bytes) { files.push_back({"bad_" + name, Verdict::bad, bytes}); };
  const std::uint64_t length = good_header.size();
  bad("empty_file", "");
  bad("short_prefix_1", zeros(1));
  bad("short_prefix_7", zeros(7));
  bad("only_prefix", framed(60, ""));
  bad("zero_header", framed(0, ""));
  bad("len_beyond_eof", framed(1000, good_header, data16));
  bad("len_100MB_plus_1", framed(100'000'001, good_header, data16));
  bad("len_top_bytes", framed(0xffffff000000003c, good_header, data16));
  bad("len_u64max", framed(0xffffffffffffffff, good_header, data16));
  bad("len_u64max_m7", framed(0xfffffffffffffff8, good_header, data16));  // 8 + length wraps to 0
  bad("len_i64min", framed(0x8000000000000000, good_header, data16));
  bad("len_minus_one", framed(length - 1, good_header, data16));
  bad("len_big_endian", framed(length << 56, good_header, data16));
  for (const std::size_t cut : {1u, 2u, 15u, 16u})
    bad("trunc_data_" + std::to_string(cut), file(good_header, zeros(16 - cut)));
  bad("trunc_header", file(good_header).substr(0, 38));
  bad("trailing_1", file(good_header, zeros(17)));
  bad("trailing_polyglot", file(good_header, data16 + "PK\5\6" + zeros(18)));  // an empty ZIP archive
  bad("data_no_tensor", file("{}", data16));
}

inline void add_json(std::vector<File>& files) {
  const auto bad = [&](std::string name, const std::string& header, const std::string& data) {
    files.push_back({"bad_" + name, Verdict::bad, file(header, data)});
  };
  const std::string unclosed = good_header.substr(0, good_header.size() - 1);
  bad("not_utf8", "\xff", "");
  bad("open_brace", "{", "");
  bad("array_root", "[]", "");
  bad("null_root", "null", "");
  bad("bom", "\xef\xbb\xbf" + good_header, data16);
  bad("nul_tail", good_header + zeros(3), data16);
  bad("nul_smuggle", good_header + zeros(1) + R"({"x":1})", data16);
  bad("two_roots", good_header + "{}", data16);
  bad("comment", "/*x*/" + good_header, data16);
  bad("trailing_comma", unclosed + ",}", data16);
  bad("single_quotes", "{'test':{'dtype':'F32','shape':[2,2],'data_offsets':[0,16]}}", data16);
  bad("nan_literal", test(f32("[2,2]", "[0,NaN]")), data16);
  bad("lone_surrogate", object({{"\\ud800", spaced()}}), data16);
  bad("deep_array", object({{"a", repeated("[", 100'000) + repeated("]", 100'000)}}), "");
  bad("deep_open", repeated("[", 200'000), "");
}

inline void add_keys(std::vector<File>& files) {
  const auto add = [&](std::string name, Verdict verdict, const std::string& header, const std::string& data) {
    files.push_back({std::move(name), verdict, file(header, data)});
  };
  const auto twice = [](const std::string& second) { return R"({"test":)" + spaced() + R"(,"test":)" + second + "}"; };
  add("bad_dup_tensor_same", Verdict::bad, twice(spaced()), data16);
  add("bad_dup_tensor_diff", Verdict::bad, twice(spaced("F32", "[16, 32]")), zeros(32));
  add("bad_dup_tensor_dtype", Verdict::bad, twice(spaced("I32")), data16);
  add("bad_dup_field", Verdict::bad, R"({"test":{"dtype":"F32","dtype":"I32","shape":[2,2],"data_offsets":[0,16]}})",
      data16);
  add("bad_dup_metadata", Verdict::bad, R"({"__metadata__":{"a":"1"},"__metadata__":{"a":"2"}})", "");
  add("policy_dup_meta_key", Verdict::policy_reject, R"({"__metadata__":{"a":"1","a":"2"}})", "");
  add("policy_empty_name", Verdict::policy_accept, object({{"", spaced()}}), data16);
  add("policy_nul_in_name", Verdict::policy_reject, object({{"a\\u0000b", spaced()}}), data16);
  add("policy_path_name", Verdict::policy_reject, object({{"../../etc/x", spaced()}}), data16);
  add("policy_unknown_field", Verdict::policy_accept,
      R"({"test":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16],"extra":1}})", data16);
  add("policy_leading_ws", Verdict::policy_accept, "\t\n" + good_header, data16);
  add("bad_meta_number", Verdict::bad, R"({"__metadata__":{"n":0}})", "");
  add("bad_meta_nested", Verdict::bad, R"({"__metadata__":{"n":{"a":"b"}}})", "");
  add("bad_meta_array", Verdict::bad, R"({"__metadata__":["a"]})", "");
  add("policy_meta_null", Verdict::policy_reject, R"({"__metadata__":null})", "");
  add("bad_meta_is_tensor", Verdict::bad, object({{"__metadata__", info()}}), data16);
}

inline void add_info(std::vector<File>& files) {
  const auto bad = [&](std::string name, const std::string& value, const std::string& data = data16) {
    files.push_back({"bad_" + name, Verdict::bad, file(test(value), data)});
  };
  const auto reject = [&](std::string name, const std::string& value, const std::string& data) {
    files.push_back({"policy_" + name, Verdict::policy_reject, file(test(value), data)});
  };
  bad("missing_dtype", R"({"shape":[2,2],"data_offsets":[0,16]})");
  bad("missing_shape", R"({"dtype":"F32","data_offsets":[0,16]})");
  bad("missing_data_offsets", R"({"dtype":"F32","shape":[2,2]})");
  bad("info_null", "null");
  reject("info_array", R"(["F32",[2,2],[0,16]])", data16);
  bad("dtype_unknown", info(R"("F33")"));
  bad("dtype_lower", info(R"("f32")"));
  bad("dtype_number", info("7"));
  bad("shape_negative", f32("[-2,-2]", "[0,16]"));
  bad("shape_float", f32("[2.0,2]", "[0,16]"));
  bad("shape_exp", f32("[4e0]", "[0,16]"));
  bad("shape_string", f32(R"(["2","2"])", "[0,16]"));
  bad("shape_object", f32(R"({"0":4})", "[0,16]"));
  bad("shape_2pow64", f32("[18446744073709551616]", "[0,16]"));
  bad("overflow_elements", info(R"("I32")", "[2,18446744073709551614]"));
  bad("overflow_bytes", info(R"("I32")", "[2,9223372036854775807]"));
  bad("overflow_wrap_to_4", f32("[4194305,4194305,211106198978564]", "[0,16]"));
  bad("overflow_2p33sq", u8("[8589934592,8589934592]", "[0,0]"), "");
  reject("overflow_zero_last", u8("[1099511627776,1099511627776,0]", "[0,0]"), "");
  bad("shape_vs_offsets", f32("[2,2]", "[0,4]"), zeros(4));
  bad("dtype_vs_offsets", info(R"("F64")"));
  reject("rank_1000000", f32("[1" + repeated(",1", 999'999) + "]", "[0,4]"), zeros(4));
}

inline void add_offsets(std::vector<File>& files) {
  const auto bad = [&](std::string name, const std::string& header, const std::string& data = data16) {
    files.push_back({"bad_" + name, Verdict::bad, file(header, data)});
  };
  bad("off_reversed", test(f32("[2,2]", "[16,0]")));
  bad("off_negative", test(f32("[2,2]", "[-16,0]")));
  bad("off_hole_start", test(f32("[2,2]", "[4,20]")), zeros(20));
  bad("off_hole_mid", object({{"a", info()}, {"b", f32("[2,2]", "[20,36]")}}), zeros(36));
  bad("off_overlap", object({{"a", info()}, {"b", f32("[2,2]", "[8,24]")}}), zeros(24));
  std::vector<std::pair<std::string, std::string>> same;
  for (int i = 0; i < 10; ++i) same.emplace_back("weight_" + std::to_string(i), info());
  bad("off_identical10", object(same));
  bad("off_beyond_file", test(f32("[1048576]", "[0,4194304]")));
  bad("off_1TB", test(u8("[1099511627776]", "[0,1099511627776]")));
  bad("off_u64max", test(u8("[18446744073709551615]", "[0,18446744073709551615]")));
  bad("off_one", test(f32("[2,2]", "[16]")));
  bad("off_three", test(f32("[2,2]", "[0,16,16]")));
  bad("off_float", test(f32("[2,2]", "[0,16.0]")));
  bad("f4_odd", test(info(R"("F4")", "[1,3]", "[0,2]")), zeros(2));
}

/// 16 valid, 77 invalid and 10 debatable files.
inline std::vector<File> corpus() {
  std::vector<File> files;
  add_valid(files);
  add_framing(files);
  add_json(files);
  add_keys(files);
  add_info(files);
  add_offsets(files);
  return files;
}

}  // namespace hostile
