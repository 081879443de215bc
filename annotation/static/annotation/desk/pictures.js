// Pictures decoded ahead of time, so that showing one is a copy and not a wait.

const TIMEOUT_MS = 20000; // a connection that goes in the middle of a picture says nothing, for minutes

export async function fetchPicture(url) {
  const response = await fetch(url, { credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return response.blob();
}

export const decode = (blob) => createImageBitmap(blob);

// The generator crops the product to its alpha, scales it to a share of the canvas and centres it: so did it look
// before a background was drawn around it.
export function asPlaced(product, imageScale, size) {
  const box = alphaBox(product);
  const factor = (imageScale * size) / Math.max(box.width, box.height);
  const [width, height] = [box.width * factor, box.height * factor];
  const canvas = new OffscreenCanvas(size, size);
  canvas
    .getContext("2d")
    .drawImage(product, box.x, box.y, box.width, box.height, (size - width) / 2, (size - height) / 2, width, height);
  return canvas.transferToImageBitmap();
}

function alphaBox(bitmap, faint = 8) {
  const shrink = Math.min(1, 256 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [Math.ceil(bitmap.width * shrink), Math.ceil(bitmap.height * shrink)];
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  let [x0, y0, x1, y1] = [width, height, 0, 0];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[4 * (y * width + x) + 3] < faint) continue;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x + 1);
      y0 = Math.min(y0, y);
      y1 = Math.max(y1, y + 1);
    }
  }
  if (x1 <= x0) return { x: 0, y: 0, width: bitmap.width, height: bitmap.height };
  return { x: x0 / shrink, y: y0 / shrink, width: (x1 - x0) / shrink, height: (y1 - y0) / shrink };
}
