/** A car by its name; where make and model are unknown it has none, and a year alone is none either. */
export interface NamedCar {
  make: string | null;
  model: string | null;
  model_year?: number | null;
}

export function carName({ make, model, model_year }: NamedCar, unnamed: string): string {
  const named = [make, model].filter(Boolean).join(" ");
  if (named) return [named, model_year].filter(Boolean).join(" ");
  return model_year ? `${unnamed} (${model_year})` : unnamed;
}
