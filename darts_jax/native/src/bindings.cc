// The kernels as calls that XLA's CPU programs make: for numbers of one type,
// DARTS_NUMBER, as programs rarely need two and the compiler takes as long for each.
#include "convolution.h"
#include "depthwise.h"
#include "separable.h"
#include "sums.h"

namespace ffi = xla::ffi;

namespace darts {
namespace {

// stride down and across, dilation, padding down and across.
using Geometry = ffi::Span<const int64_t>;

ffi::Error wrong(const char* what) { return ffi::Error::InvalidArgument(what); }

// [edge, batch, height, width, channel] of the image and of the outputs; the kernel's
// dimensions begin with [edge, height, width].
Window window_of(ffi::Span<const int64_t> image, ffi::Span<const int64_t> kernel,
                 ffi::Span<const int64_t> output, Geometry g) {
  return {{image[2], kernel[1], g[0], g[2], g[3], output[2]},
          {image[3], kernel[2], g[1], g[2], g[4], output[3]}};
}

using Number = DARTS_NUMBER;
constexpr ffi::DataType kType =
    sizeof(Number) == 4 ? ffi::DataType::F32 : ffi::DataType::F64;
using Array = ffi::Buffer<kType>;

enum class Of { kOutput, kInput, kKernel };

// Depthwise: kernel [edge, height, width, channel].
template <Of of>
ffi::Error depthwise_call(ffi::ThreadPool pool, Array a, Array b,
                          ffi::Result<Array> result, Geometry g) {
  const auto as = a.dimensions(), bs = b.dimensions(), rs = result->dimensions();
  if (as.size() != 5 || g.size() != 5) return wrong("five dimensions are wanted");
  if constexpr (of == Of::kKernel) {
    depthwise_kernel(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4],
                     window_of(as, rs, bs, g), result->typed_data());
  } else {
    constexpr bool backward = of == Of::kInput;
    const Window window = backward ? window_of(rs, bs, as, g) : window_of(as, bs, rs, g);
    depthwise(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4], window, backward,
              result->typed_data());
  }
  return ffi::Error::Success();
}

// Dense: kernel [edge, height, width, in, out].
template <Of of>
ffi::Error conv_call(ffi::ThreadPool pool, Array a, Array b,
                     ffi::Result<Array> result, Geometry g) {
  const auto as = a.dimensions(), bs = b.dimensions(), rs = result->dimensions();
  if (as.size() != 5 || g.size() != 5) return wrong("five dimensions are wanted");
  if constexpr (of == Of::kKernel) {
    conv_kernel(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4], bs[4],
                window_of(as, rs, bs, g), result->typed_data());
  } else {
    constexpr bool backward = of == Of::kInput;
    const Window window = backward ? window_of(rs, bs, as, g) : window_of(as, bs, rs, g);
    conv(pool, a.typed_data(), b.typed_data(), as[0], as[1], as[4], rs[4], window, backward,
         result->typed_data());
  }
  return ffi::Error::Success();
}

// x [edge, ..., channel], other as x or [edge, channel] -> [edge, 2, channel].
template <bool of_moments>
ffi::Error sums_call(ffi::ThreadPool pool, Array x, Array other,
                     ffi::Result<Array> result) {
  const auto shape = x.dimensions();
  const int64_t edges = shape.front(), channels = shape.back();
  const int64_t pixels = x.element_count() / (edges * channels);
  const auto sums = of_moments ? moments<Number> : channel_sums<Number>;
  sums(pool, x.typed_data(), other.typed_data(), edges, pixels, channels, result->typed_data());
  return ffi::Error::Success();
}

// t and y [edge, ..., channel], scale [edge, channel] -> as t.
ffi::Error project_call(ffi::ThreadPool pool, Array t, Array y, Array scale,
                        ffi::Result<Array> result) {
  const auto shape = t.dimensions();
  const int64_t edges = shape.front(), channels = shape.back();
  project(pool, t.typed_data(), y.typed_data(), scale.typed_data(), edges,
          int64_t(t.element_count()) / (edges * channels), channels,
          result->typed_data());
  return ffi::Error::Success();
}

// x, depthwise kernel, pointwise kernel [edge, in, out]; the output's dimensions.
Separable<Number> separable_of(Array x, Array depthwise, Array pointwise,
                               ffi::Span<const int64_t> output, Geometry g) {
  const auto xs = x.dimensions();
  return {x.typed_data(),
          depthwise.typed_data(),
          pointwise.typed_data(),
          xs[0],
          xs[1],
          xs[4],
          pointwise.dimensions()[2],
          window_of(xs, depthwise.dimensions(), output, g)};
}

ffi::Error separable_call(ffi::ThreadPool pool, Array x, Array depthwise, Array pointwise,
                          Array origin, ffi::Result<Array> y, ffi::Result<Array> moments,
                          Geometry g) {
  separable(pool, separable_of(x, depthwise, pointwise, y->dimensions(), g),
            origin.typed_data(), y->typed_data(), moments->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_change_call(ffi::ThreadPool pool, Array x_change,
                                 Array depthwise_change, Array pointwise_change, Array x,
                                 Array depthwise, Array pointwise, ffi::Result<Array> y,
                                 Geometry g) {
  separable_change(pool, separable_of(x, depthwise, pointwise, y->dimensions(), g),
                   {x_change.typed_data(), depthwise_change.typed_data(),
                    pointwise_change.typed_data()},
                   y->typed_data());
  return ffi::Error::Success();
}

ffi::Error separable_back_call(ffi::ThreadPool pool, Array y, Array x, Array depthwise,
                               Array pointwise, ffi::Result<Array> x_back,
                               ffi::Result<Array> depthwise_back,
                               ffi::Result<Array> pointwise_back, Geometry g) {
  separable_back(pool, separable_of(x, depthwise, pointwise, y.dimensions(), g),
                 y.typed_data(), x_back->typed_data(), depthwise_back->typed_data(),
                 pointwise_back->typed_data());
  return ffi::Error::Success();
}

}  // namespace

#define DARTS_WINDOW_CALL(name, function)                            \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, (function),                    \
                                ffi::Ffi::Bind()                     \
                                    .Ctx<ffi::ThreadPool>()          \
                                    .Arg<Array>()           \
                                    .Arg<Array>()           \
                                    .Ret<Array>()           \
                                    .Attr<Geometry>("geometry"))
#define DARTS_SUMS_CALL(name, function)                              \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(name, (function),                    \
                                ffi::Ffi::Bind()                     \
                                    .Ctx<ffi::ThreadPool>()          \
                                    .Arg<Array>()           \
                                    .Arg<Array>()           \
                                    .Ret<Array>())

DARTS_WINDOW_CALL(darts_depthwise, depthwise_call<Of::kOutput>);
DARTS_WINDOW_CALL(darts_depthwise_input, depthwise_call<Of::kInput>);
DARTS_WINDOW_CALL(darts_depthwise_kernel, depthwise_call<Of::kKernel>);
DARTS_WINDOW_CALL(darts_conv, conv_call<Of::kOutput>);
DARTS_WINDOW_CALL(darts_conv_input, conv_call<Of::kInput>);
DARTS_WINDOW_CALL(darts_conv_kernel, conv_call<Of::kKernel>);
DARTS_SUMS_CALL(darts_moments, sums_call<true>);
DARTS_SUMS_CALL(darts_channel_sums, sums_call<false>);

XLA_FFI_DEFINE_HANDLER_SYMBOL(darts_separable, separable_call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Attr<Geometry>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(darts_separable_change, separable_change_call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Attr<Geometry>("geometry"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(darts_separable_back, separable_back_call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Ret<Array>()
                                  .Attr<Geometry>("geometry"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(darts_project, project_call,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Ret<Array>());

}  // namespace darts
