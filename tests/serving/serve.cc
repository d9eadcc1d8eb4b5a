// A server without Python: answers requests of any signature of one SavedModel.
//
//   serve FOLDER [OP_LIBRARY ...] < requests > answers
//
// Requests and answers are each one serialized tensorflow.AttrValue.ListValue. Its
// `func` holds a NameAttrList for each of them: the signature's name, and in `attr` a
// tensor under the name of each input or output, strings in `string_val` and numbers in
// `tensor_content`. In the answers, `s` holds the names of all signatures.

#include <chrono>
#include <cstring>
#include <iostream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/c/c_api.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace tensorflow {
// Declared in tensorflow/compiler/jit/flags.h, which includes a large part of XLA.
void DisableXlaCompilation();
}  // namespace tensorflow

using tensorflow::AttrValue;
using tensorflow::NameAttrList;
using tensorflow::SignatureDef;
using tensorflow::TensorProto;
using Clock = std::chrono::steady_clock;

// What each function of TensorFlow below writes, and `Check` then reads.
TF_Status* const status = TF_NewStatus();

void Check() {
  if (TF_GetCode(status) != TF_OK) throw std::runtime_error(TF_Message(status));
}

TF_Tensor* ToTensor(const TensorProto& proto) {
  std::vector<int64_t> shape;
  for (const auto& dimension : proto.tensor_shape().dim())
    shape.push_back(dimension.size());
  const auto type = static_cast<TF_DataType>(proto.dtype());
  const size_t size = type == TF_STRING ? proto.string_val_size() * sizeof(TF_TString)
                                        : proto.tensor_content().size();
  TF_Tensor* tensor = TF_AllocateTensor(type, shape.data(), shape.size(), size);
  if (type == TF_STRING) {
    auto* strings = static_cast<TF_TString*>(TF_TensorData(tensor));
    for (const std::string& text : proto.string_val()) {
      TF_StringInit(strings);
      TF_StringCopy(strings++, text.data(), text.size());
    }
  } else if (size) {
    std::memcpy(TF_TensorData(tensor), proto.tensor_content().data(), size);
  }
  return tensor;
}

TensorProto ToProto(const TF_Tensor* tensor) {
  TensorProto proto;
  proto.set_dtype(static_cast<tensorflow::DataType>(TF_TensorType(tensor)));
  proto.mutable_tensor_shape();  // A scalar has a shape too.
  for (int axis = 0; axis < TF_NumDims(tensor); ++axis)
    proto.mutable_tensor_shape()->add_dim()->set_size(TF_Dim(tensor, axis));
  if (TF_TensorType(tensor) == TF_STRING) {
    auto* strings = static_cast<const TF_TString*>(TF_TensorData(tensor));
    for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i)
      proto.add_string_val(TF_StringGetDataPointer(strings + i),
                           TF_StringGetSize(strings + i));
  } else {
    proto.set_tensor_content(TF_TensorData(tensor), TF_TensorByteSize(tensor));
  }
  return proto;
}

// The names in a map, in alphabetical order.
template <typename Map>
std::string Names(const Map& map) {
  std::set<std::string> sorted;
  for (const auto& [name, value] : map) sorted.insert(name);
  std::string names;
  for (const std::string& name : sorted) names += (names.empty() ? "" : ", ") + name;
  return "[" + names + "]";
}

class Server {
 public:
  explicit Server(const char* folder) : graph_(TF_NewGraph()) {
    const char* tag = "serve";
    TF_Buffer* buffer = TF_NewBuffer();
    session_ = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), nullptr, folder,
                                            &tag, 1, graph_, buffer, status);
    Check();
    tensorflow::MetaGraphDef definition;
    definition.ParseFromArray(buffer->data, buffer->length);
    signatures_ = definition.signature_def();
    signatures_.erase("__saved_model_init_op");  // Has run and answers nothing.
  }

  const auto& signatures() const { return signatures_; }

  NameAttrList Answer(const NameAttrList& request) const {
    const auto found = signatures_.find(request.name());
    if (found == signatures_.end())
      throw std::invalid_argument("a request names one of the signatures " +
                                  Names(signatures_) + ", received " + request.name());
    const SignatureDef& signature = found->second;
    const std::string expected = Names(signature.inputs());
    const std::string received = Names(request.attr());
    if (received != expected)
      throw std::invalid_argument("signature " + request.name() + " takes the inputs " +
                                  expected + ", received " + received +
                                  ": send these and no others");

    std::vector<TF_Output> inputs, outputs;
    std::vector<TF_Tensor*> sent;
    for (const auto& [name, value] : request.attr()) {
      inputs.push_back(Find(signature.inputs().at(name).name()));
      sent.push_back(ToTensor(value.tensor()));
    }
    for (const auto& [name, info] : signature.outputs())
      outputs.push_back(Find(info.name()));
    std::vector<TF_Tensor*> returned(outputs.size());
    TF_SessionRun(session_, nullptr, inputs.data(), sent.data(), inputs.size(),
                  outputs.data(), returned.data(), outputs.size(), nullptr, 0, nullptr,
                  status);
    Check();

    NameAttrList answer;
    answer.set_name(request.name());
    size_t i = 0;
    for (const auto& [name, info] : signature.outputs())
      *(*answer.mutable_attr())[name].mutable_tensor() = ToProto(returned[i++]);
    for (TF_Tensor* tensor : sent) TF_DeleteTensor(tensor);
    for (TF_Tensor* tensor : returned) TF_DeleteTensor(tensor);
    return answer;
  }

 private:
  // `name` is that of an operation and the number of its output, as in "call:0".
  TF_Output Find(const std::string& name) const {
    const size_t colon = name.rfind(':');
    TF_Operation* operation =
        TF_GraphOperationByName(graph_, name.substr(0, colon).c_str());
    if (!operation) throw std::runtime_error("the graph has no tensor " + name);
    return {operation, std::stoi(name.substr(colon + 1))};
  }

  TF_Graph* graph_;
  TF_Session* session_;
  google::protobuf::Map<std::string, SignatureDef> signatures_;
};

void Log(const std::string& what, Clock::time_point start) {
  const std::chrono::duration<double, std::milli> time = Clock::now() - start;
  std::cerr << what << " in " << time.count() << " ms\n";
}

void Serve(const char* folder, const std::vector<const char*>& libraries) {
  // The default of tensorflow_model_server too (--xla_cpu_compilation_enabled=false).
  tensorflow::DisableXlaCompilation();
  auto start = Clock::now();
  for (const char* library : libraries) {
    TF_LoadLibrary(library, status);
    Check();
  }
  Log("op libraries loaded", start);

  start = Clock::now();
  const Server server(folder);
  Log("SavedModel loaded", start);

  const std::string bytes(std::istreambuf_iterator<char>(std::cin), {});
  AttrValue::ListValue requests, answers;
  if (!requests.ParseFromString(bytes))
    throw std::invalid_argument("standard input must be a serialized ListValue");
  for (const auto& [name, signature] : server.signatures()) answers.add_s(name);
  for (const NameAttrList& request : requests.func()) {
    start = Clock::now();
    *answers.add_func() = server.Answer(request);
    Log(request.name() + " answered", start);
  }
  std::cout << answers.SerializeAsString() << std::flush;
}

int main(int count, char** arguments) {
  if (count < 2) {
    std::cerr << "usage: serve FOLDER [OP_LIBRARY ...] < requests > answers\n";
    return 2;
  }
  try {
    Serve(arguments[1], {arguments + 2, arguments + count});
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
